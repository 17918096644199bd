"""A saga's definition: data with a name, a version and a content hash. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from amends.coordinator.saga import rules
from amends.coordinator.saga.bounds import json_problem
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import Json, content_hash
from amends.coordinator.saga.reading import Reader
from amends.coordinator.saga.tree import Node, StepNode, places
from amends.coordinator.saga.walk import Plan

DEADLINE: Final = DAY
LANGUAGE: Final = 1  # Rises when the stored form can no longer be read by the release before.

_FIELDS: Final = ("language", "name", "version", "deadline", "input", "root")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """A checked definition. `deadline` is how long, in ms, a saga has from its start; the root is a chain.

    Two definitions are the same if their hashes are.
    """

    name: str
    version: int
    deadline: int
    input_schema: dict[str, Json] | None
    root: Node
    participants: tuple[str, ...] = field(init=False)
    hash: str = field(init=False)
    plan: Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        steps = (node for _, node in places(self.root, "") if isinstance(node, StepNode))
        object.__setattr__(self, "participants", tuple(sorted({step.to for step in steps})))
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
        root = reader.node(fields.get("root"), "", outermost=True)
        found = [*reader.problems, *rules.problems(root, input_schema)]
        if found:
            raise InvalidDefinition(_name_of(json), found)
        return cls(name=name, version=version, deadline=deadline, input_schema=input_schema, root=root)


def _name_of(json: object) -> str:
    name = json.get("name") if isinstance(json, dict) else None
    return name[:100] if isinstance(name, str) else "?"
