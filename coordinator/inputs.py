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
            validator = jsonschema_rs.validator_for(definition.input_schema)
            self._validators[definition.hash] = validator
        for error in validator.iter_errors(value):
            field = "/".join(str(part) for part in error.instance_path)
            return InputProblem(field=field, message=_first_line(error.message))
        return None


def _first_line(message: str) -> str:
    # The library repeats the offending value, which may be long or secret in parts: keep the beginning.
    line = message.splitlines()[0] if message else "does not fit"
    return line if len(line) <= 300 else line[:297] + "..."
