"""Does a saga's input fit its definition's JSON Schema?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import jsonschema_rs

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import Json

PROBLEMS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class InputProblem:
    """Something that does not fit: the field as a path (`lines/0/sku`), and what is wrong with it."""

    field: str
    message: str


class InputRules:
    """Compiled schemas, one per definition. Thread-safe."""

    def __init__(self) -> None:
        self._validators: dict[str, Any] = {}

    def problems(self, definition: Definition, value: Json) -> list[InputProblem]:
        """What is wrong with this input, up to PROBLEMS_MAX things."""
        if definition.input_schema is None:
            return []
        validator = self._validators.get(definition.hash)
        if validator is None:
            validator = self._validators[definition.hash] = _compiled(definition.input_schema)
        return [_problem(error) for error in islice(validator.iter_errors(value), PROBLEMS_MAX)]


def _problem(error: Any) -> InputProblem:
    path = [str(part) for part in error.instance_path]
    missing = getattr(error.kind, "property", None)
    if error.kind.name == "required" and missing is not None:
        path.append(str(missing))
    return InputProblem(field="/".join(path), message=_first_line(error.message))


def check_schema(definition: Definition) -> None:
    """Raises: InvalidDefinition if the input's schema is no JSON Schema, or refers to something outside itself."""
    if definition.input_schema is None:
        return
    try:
        _compiled(definition.input_schema)
    except ValueError as error:
        problem = f"input: not a JSON Schema that stands by itself: {_first_line(str(error))}"
        raise InvalidDefinition(definition.name, [problem]) from error


def _compiled(schema: dict[str, Json]) -> Any:
    # Messages say "the value" in its place: it is a payload, and they go into answers and logs.
    return jsonschema_rs.validator_for(schema, mask="the value", retriever=_fetch_nothing)


def _fetch_nothing(uri: str) -> Any:
    # A definition comes over HTTP: a `$ref` in it must not make the coordinator call other servers.
    raise ValueError(f"{uri} is outside of the definition; write it into the schema's own $defs")


def _first_line(message: str) -> str:
    # An enumeration or a pattern of the schema may be long.
    line = message.splitlines()[0] if message else "does not fit"
    return line if len(line) <= 300 else line[:297] + "..."
