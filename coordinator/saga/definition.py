"""A saga's definition: data with a name, a version and a content hash. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from amends.coordinator.saga import rules
from amends.coordinator.saga.bounds import LABELS_MAX, json_problem
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.expressions import Expression, Literal, to_json
from amends.coordinator.saga.json import Json, content_hash
from amends.coordinator.saga.leaves import CallNode, StepNode
from amends.coordinator.saga.reading import Fields, Reader
from amends.coordinator.saga.reading_expressions import read_expression
from amends.coordinator.saga.reading_nodes import NodeReader
from amends.coordinator.saga.tree import Node, places
from amends.coordinator.saga.walk import Plan

DEADLINE: Final = DAY
NULL: Final = Literal(None)
LANGUAGE: Final = 1  # Rises when the stored form can no longer be read by the release before.

_FIELDS: Final = (
    "language",
    "name",
    "version",
    "deadline",
    "input",
    "root",
    "result",
    "key",
    "labels",
    "on_stuck",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """A checked definition. `deadline` is how long, in ms, a saga has from its start; the root is a chain.

    `result` is what a saga comes to, for its caller and for people; `key` and `labels` are made of its input when it
    is started without; `on_stuck` is the type of the event that is published when it needs an operator.
    `calls` are the sagas it calls. Two definitions are the same if their hashes are.
    """

    name: str
    version: int
    deadline: int
    input_schema: dict[str, Json] | None
    root: Node
    result: Expression = NULL
    key: Expression | None = None
    labels: tuple[tuple[str, Expression], ...] = ()
    on_stuck: str | None = None
    participants: tuple[str, ...] = field(init=False)
    calls: tuple[str, ...] = field(init=False)
    hash: str = field(init=False)
    plan: Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nodes = [node for _, node in places(self.root, "")]
        participants = {node.to for node in nodes if isinstance(node, StepNode)}
        object.__setattr__(self, "participants", tuple(sorted(participants)))
        called = {node.saga for node in nodes if isinstance(node, CallNode)}
        object.__setattr__(self, "calls", tuple(sorted(called)))
        object.__setattr__(self, "hash", content_hash(self.to_json()))
        object.__setattr__(self, "plan", Plan(self.root))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Definition) and other.hash == self.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def to_json(self) -> dict[str, Json]:
        """The stored form: every default written out, durations in ms (M5)."""
        return {
            "language": LANGUAGE,
            "name": self.name,
            "version": self.version,
            "deadline": self.deadline,
            "input": self.input_schema,
            "root": self.root.to_json(),
            "result": to_json(self.result),
            "key": to_json(self.key) if self.key is not None else None,
            "labels": {name: to_json(value) for name, value in self.labels},
            "on_stuck": self.on_stuck,
        }

    @classmethod
    def from_json(cls, json: object) -> Definition:
        """Read a definition, from its stored form or one that leaves defaults out.

        Raises: InvalidDefinition, with everything that is wrong with it.
        """
        problem = json_problem(json)
        if problem is not None:
            raise InvalidDefinition(_name_of(json), [f"saga: it holds {problem}"])
        reader = Reader()
        fields = reader.fields(json, "saga", _FIELDS)  # type: ignore[arg-type] # json_problem found none.
        if fields.get("language", LANGUAGE) != LANGUAGE or isinstance(fields.get("language"), bool | float):
            reader.problem("saga", f"`language` is to be {LANGUAGE}; a newer release of amends may read it")
        name = reader.name(fields, "name", "saga", dotted=True)
        version = reader.version(fields, "saga")
        deadline = reader.duration(fields, "deadline", "saga", DEADLINE)
        schema = fields.get("input")
        if schema is not None and not isinstance(schema, dict):
            reader.problem("saga", "`input` is to be a JSON Schema, which is an object, or null")
        input_schema = schema if isinstance(schema, dict) else None
        root = NodeReader(reader).root(fields.get("root"))
        of_saga = rules.OfSaga(
            result=_expression(reader, fields, "result") or NULL,
            key=_expression(reader, fields, "key"),
            labels=_labels(reader, fields),
        )
        on_stuck = None
        if fields.get("on_stuck") is not None:
            on_stuck = reader.name(fields, "on_stuck", "saga", dotted=True)
        found = [*reader.problems, *rules.problems(root, input_schema, of_saga)]
        if found:
            raise InvalidDefinition(_name_of(json), found)
        return cls(
            name=name,
            version=version,
            deadline=deadline,
            input_schema=input_schema,
            root=root,
            result=of_saga.result,
            key=of_saga.key,
            labels=of_saga.labels,
            on_stuck=on_stuck,
        )


def _expression(reader: Reader, fields: Fields, key: str) -> Expression | None:
    if fields.get(key) is None:
        return None
    return read_expression(reader, fields[key], f"saga: {key}")


def _labels(reader: Reader, fields: Fields) -> tuple[tuple[str, Expression], ...]:
    labels = fields.get("labels")
    if labels is None:
        return ()
    if not isinstance(labels, dict) or len(labels) > LABELS_MAX:
        reader.problem("saga", f"`labels` is to be an object of at most {LABELS_MAX} expressions")
        return ()
    named = ((name, read_expression(reader, value, f"saga: labels.{name}")) for name, value in labels.items())
    return tuple(sorted(named, key=lambda label: label[0]))


def _name_of(json: object) -> str:
    name = json.get("name") if isinstance(json, dict) else None
    return name[:100] if isinstance(name, str) else "?"
