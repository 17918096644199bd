"""Does a saga's input fit its definition's JSON Schema?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.json import Json


@dataclass(frozen=True, slots=True)
class InputProblem:
    """The first thing that does not fit: the field as a path (`lines/0/sku`), and what is wrong with it."""

    field: str
    message: str


class InputRules:
    """Compiled schemas, one per definition. Thread-safe."""

    def __init__(self) -> None:
        self._validators: dict[str, Any] = {}

    def problem(self, definition: Definition, value: Json) -> InputProblem | None:
        """What is wrong with this input, or None."""
        if definition.input_schema is None:
            return None
        validator = self._validators.get(definition.hash)
        if validator is None:
            # Messages say "the value" in its place: it is a payload, and they go into answers and logs.
            validator = jsonschema_rs.validator_for(definition.input_schema, mask="the value")
            self._validators[definition.hash] = validator
        for error in validator.iter_errors(value):
            path = [str(part) for part in error.instance_path]
            missing = getattr(error.kind, "property", None)
            if error.kind.name == "required" and missing is not None:
                path.append(str(missing))
            return InputProblem(field="/".join(path), message=_first_line(error.message))
        return None


def _first_line(message: str) -> str:
    # An enumeration or a pattern of the schema may be long.
    line = message.splitlines()[0] if message else "does not fit"
    return line if len(line) <= 300 else line[:297] + "..."
