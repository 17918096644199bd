"""`Saga`: how service authors declare one. Derives the input's JSON Schema, which the pure part does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.nodes import Duration, Sketch, chain, length_of, plain, value_of
from amends.coordinator.saga.starting import Unusable, key_of

# In a JSON Schema: what is for people, what holds values, what holds schemas by name. All else is one, or holds some.
_PROSE: Final = frozenset({"title", "description", "examples"})
_VALUES: Final = frozenset({"default", "const", "enum", "required"})
_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs"})


class Saga:
    """A declared saga. Its `definition` is what is registered; declaring one does no I/O.

    `input` is the type of what a saga is started with: a msgspec Struct, a dataclass, a TypedDict, a pydantic model,
    or a JSON Schema as a dict; None takes anything. `result` is what it comes to: references to steps that are certain
    to have run, values and mixtures. `key` and `labels` are made of its input, for starts that bring none themselves.
    `on_stuck` is the type of the domain event that is published when it needs an operator.
    Raises: InvalidDefinition, with every problem, its place and its mend.
    """

    __slots__ = ("definition", "input_type")

    def __init__(
        self,
        name: str,
        root: Sketch,
        *,
        version: int,
        deadline: Duration = "24h",
        input: type | dict[str, Any] | None = None,  # noqa: A002 - The word of the language.
        result: object = None,
        key: object = None,
        labels: Mapping[str, object] | None = None,
        on_stuck: str | None = None,
    ) -> None:
        if not isinstance(root, Sketch):
            raise TypeError(
                f"a saga is made of nodes such as chain(...) or step(...), not of {type(root).__name__}"
            )
        if root.json.get("kind") != "chain":
            root = chain(root)
        self.input_type = None if isinstance(input, dict) else input
        self.definition = Definition.from_json(
            {
                "name": plain(name, "saga", "name"),
                "version": plain(version, "saga", "version"),
                "deadline": plain(length_of(deadline), "saga", "deadline"),
                "input": json_schema(name, input),
                "root": root.json,
                "result": value_of(result, "saga: result"),
                "key": None if key is None else value_of(key, "saga: key"),
                "labels": _labels(labels),
                "on_stuck": plain(on_stuck, "saga", "on_stuck"),
            }
        )
        if isinstance(input, dict):
            _check_schema(self.definition)

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.definition.name

    @property
    def version(self) -> int:
        """The definition's version."""
        return self.definition.version

    def key_of(self, value: Json) -> str | None:
        """The key that this saga makes of an input's JSON, for a start that brings none; None if it makes none.

        Raises: ValueError, saying what is missing or cannot be a key.
        """
        try:
            return key_of(self.definition, value)
        except Unusable as unusable:
            raise ValueError(str(unusable)) from None

    def __repr__(self) -> str:
        return f"<Saga {self.name!r} version {self.version}>"


def _labels(labels: object) -> object:
    """Labels by name; what is no mapping stays as it is, to be told in its place."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        return plain(labels, "saga", "labels")
    return {name: value_of(value, f"saga: labels.{name}") for name, value in labels.items()}


def _check_schema(definition: Definition) -> None:
    """Tell at once that a schema is none. Where no validator is installed, as in a service, registration tells."""
    try:  # It takes the extra `coordinator`.
        from amends.coordinator.inputs import check_schema
    except ModuleNotFoundError:
        return
    check_schema(definition)


def json_schema(name: str, input_type: type | dict[str, Any] | None) -> dict[str, Json] | None:
    """The JSON Schema of a saga's input; None if anything will do.

    Raises: InvalidDefinition for a type that no schema can be derived from.
    """
    if input_type is None or isinstance(input_type, dict):
        return input_type
    try:
        # A pydantic model knows its own; pydantic itself is the service's dependency, not ours.
        derive = getattr(input_type, "model_json_schema", None)
        schema = derive() if derive is not None else msgspec.json.schema(input_type)
    except Exception as error:
        raise InvalidDefinition(
            name,
            [
                f"saga: no JSON Schema can be derived from input={getattr(input_type, '__name__', input_type)!s} "
                f"({error}); use a msgspec Struct, a dataclass, a pydantic model, or write the schema as a dict"
            ],
        ) from error
    return cast(dict[str, Json], _without_prose(schema))


def _without_prose(schema: object) -> object:
    """A derived schema without titles and docstrings: rewording one is no new version of the saga."""
    if isinstance(schema, list):
        return [_without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, object] = {}
    for key, value in schema.items():
        if key in _BY_NAME:
            bare[key] = {name: _without_prose(inner) for name, inner in value.items()}
        elif key in _VALUES:
            bare[key] = value
        elif key not in _PROSE:
            bare[key] = _without_prose(value)
    return bare
