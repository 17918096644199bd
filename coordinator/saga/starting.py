"""What a definition makes of a saga's input when it starts: its key, for a start that brings none, and its labels."""

from __future__ import annotations

from typing import Final

from amends.coordinator.saga.bounds import json_problem
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.evaluating import Unresolved, resolve
from amends.coordinator.saga.expressions import Expression, Input, written
from amends.coordinator.saga.json import Json, canonical

TEXT_CHARS_MAX: Final = 255


class Unusable(Exception):
    """The input does not give what the key or a label is made of; the text says what, where, and the mend.

    `field` is the part of the input at fault, as a path (`lines/0/sku`), None where it is no single one.
    """

    def __init__(self, what: str, value: Expression, problem: str) -> None:
        made_of = f"arg{written(value.at)}" if isinstance(value, Input) else "its expression"
        super().__init__(f"{what}, made of {made_of}: {problem}")
        self.field = "/".join(map(str, value.at)) if isinstance(value, Input) and value.at else None


class _OfInput:
    """Where key and labels come from: there is nothing but the input."""

    def __init__(self, value: Json) -> None:
        self.input = value

    def result_of(self, name: str) -> Json:
        raise Unresolved(f"result({name!r}) is not there before the saga has begun")

    def item(self, level: int) -> Json:
        raise Unresolved(f"there is no item at level {level} around a saga")


def key_of(definition: Definition, value: Json) -> str | None:
    """The key that a definition makes of this input; None if it makes none. A whole number is its digits.

    Raises: Unusable, if what it is made of is missing or cannot be a key.
    """
    if definition.key is None:
        return None
    try:
        found = resolve(definition.key, _OfInput(value))
    except Unresolved as missing:
        raise Unusable("the key", definition.key, f"{missing}; send it, or start with a key") from None
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str):
        problem = f"it is {_kind(found)}, and a key is a text or a whole number"
        raise Unusable("the key", definition.key, problem)
    if not found or _bad(found):
        problem = f"a key has 1 to {TEXT_CHARS_MAX} printable characters; this has {len(found)}"
        raise Unusable("the key", definition.key, problem)
    return found


def labels_of(definition: Definition, value: Json) -> dict[str, str]:
    """The labels that a definition makes of this input. What is missing or null gives none; numbers are as in JSON.

    Raises: Unusable, for what cannot be a label.
    """
    labels = {}
    for name, expression in definition.labels:
        try:
            found = resolve(expression, _OfInput(value))
        except Unresolved:
            continue
        if found is None:
            continue
        if isinstance(found, bool | int | float):
            found = canonical(found)
        what = f"label {name!r}"
        if not isinstance(found, str):
            problem = f"it is {_kind(found)}, and a label is a text, a number or a boolean"
            raise Unusable(what, expression, problem)
        if _bad(found):
            problem = (
                f"a label has up to {TEXT_CHARS_MAX} printable characters; this has {len(found)} characters"
            )
            raise Unusable(what, expression, problem)
        labels[name] = found
    return labels


def _bad(text: str) -> bool:
    unprintable = any(ord(character) < 32 for character in text)
    return len(text) > TEXT_CHARS_MAX or unprintable or json_problem(text) is not None


def _kind(value: Json) -> str:
    names = {type(None): "null", bool: "a boolean", float: "a number with a fraction", list: "a list"}
    return names.get(type(value), "an object")
