"""Reads expressions from their stored form."""

from __future__ import annotations

from typing import Final

from amends.coordinator.saga.expressions import (
    COMPARISONS,
    At,
    Both,
    Compare,
    Either,
    Exists,
    Expression,
    Input,
    Item,
    Literal,
    Not,
    Result,
)
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.reading import Reader, shown
from amends.coordinator.saga.references import list_of, object_of

NOTHING: Final = Literal(None)  # in place of an expression that is none

_TAGS: Final = {
    "literal": ("literal",),
    "arg": ("arg",),
    "result": ("result", "at"),
    "item": ("item", "at"),
    "object": ("object",),
    "list": ("list",),
    "compare": ("compare", "left", "right"),
    "exists": ("exists",),
    "and": ("and",),
    "or": ("or",),
    "not": ("not",),
}


def read_expression(reader: Reader, json: Json, place: str) -> Expression:
    """An expression; `null` in place of what is none."""
    tag = next((key for key in json if key in _TAGS), None) if isinstance(json, dict) else None
    if tag is None or not isinstance(json, dict):
        reader.problem(place, f"{shown(json)} is no expression; one has a field of {', '.join(_TAGS)}")
        return NOTHING
    fields = reader.fields(json, place, _TAGS[tag])
    value = fields[tag]
    match tag:
        case "literal":
            return Literal(value)
        case "arg":
            return Input(_at(reader, value, place))
        case "result":
            return Result(
                reader.name(fields, "result", place, dotted=True), _at(reader, fields.get("at", []), place)
            )
        case "item" if value in (0, 1) and not isinstance(value, bool | float):
            assert isinstance(value, int)
            return Item(value, _at(reader, fields.get("at", []), place))
        case "object" if isinstance(value, dict):
            return object_of(
                (key, read_expression(reader, field, f"{place}.{key}")) for key, field in value.items()
            )
        case "list" if isinstance(value, list):
            return list_of(
                read_expression(reader, one, f"{place}[{index}]") for index, one in enumerate(value)
            )
        case "compare" if isinstance(value, str) and value in COMPARISONS:
            return Compare(value, *_two(reader, [fields.get("left"), fields.get("right")], place))
        case "and" if isinstance(value, list) and len(value) == 2:
            return Both(*_two(reader, value, place))
        case "or" if isinstance(value, list) and len(value) == 2:
            return Either(*_two(reader, value, place))
        case "not":
            return Not(read_expression(reader, value, place))
        case "exists":
            return Exists(read_expression(reader, value, place))
        case _:
            reader.problem(place, f"{shown(value)} does not fit `{tag}`")
            return NOTHING


def _two(reader: Reader, operands: list[Json], place: str) -> tuple[Expression, Expression]:
    return read_expression(reader, operands[0], place), read_expression(reader, operands[1], place)


def _at(reader: Reader, json: Json, place: str) -> At:
    keys = json if isinstance(json, list) else [None]
    at = tuple(key for key in keys if isinstance(key, str | int) and not isinstance(key, bool))
    if len(at) != len(keys):
        reader.problem(
            place, f"{shown(json)} is no way to a part; write a list of field names and item numbers"
        )
    return at
