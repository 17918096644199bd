"""What an expression comes to in one saga.

A value that points at something missing cannot be made, and the step that wanted it cannot begin. A condition always
comes to true or false: a comparison with something missing, or of things that have no order between them, is false.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from amends.coordinator.saga.expressions import (
    At,
    Both,
    Compare,
    Either,
    Exists,
    Expression,
    Input,
    Item,
    List,
    Literal,
    Not,
    Object,
    Result,
    written,
)
from amends.coordinator.saga.json import Json


class Unresolved(Exception):
    """A reference points at something that is not there; the text says which and where."""


class Surroundings(Protocol):
    """Where the values come from that references point at.

    `result_of` and `item` raise Unresolved if there is none.
    """

    @property
    def input(self) -> Json:
        """The saga's input."""

    def result_of(self, name: str) -> Json:
        """The result of the step of that name, as seen from here."""

    def item(self, level: int) -> Json:
        """The item that an `each` around is at."""


def resolve(value: Expression, around: Surroundings) -> Json:
    """The JSON that a value stands for in one saga.

    Raises: Unresolved if something it points at is not there.
    """
    match value:
        case Input():
            return _part(around.input, value.at, "arg")
        case Literal():
            return value.value
        case Object():
            return {key: resolve(field, around) for key, field in value.fields}
        case Result():
            return _part(around.result_of(value.step), value.at, f"result({value.step!r})")
        case Item():
            return _part(around.item(value.level), value.at, ITEM_NAMES.get(value.level, "item"))
        case List():
            return [resolve(item, around) for item in value.items]
        case Compare() | Exists() | Both() | Either() | Not():
            return holds(value, around)
        case _:
            assert_never(value)


def holds(condition: Expression, around: Surroundings) -> bool:
    """Whether a condition is true in one saga; a plain value is if it is exactly `true`."""
    match condition:
        case Both():
            return holds(condition.left, around) and holds(condition.right, around)
        case Either():
            return holds(condition.left, around) or holds(condition.right, around)
        case Not():
            return not holds(condition.operand, around)
        case Exists():
            there, value = _found(condition.operand, around)
            return there and value is not None
        case Compare():
            return _compared(condition, around)
        case Literal() | Input() | Result() | Item() | Object() | List():
            there, value = _found(condition, around)
            return there and value is True
        case _:
            assert_never(condition)


ITEM_NAMES = {0: "item", 1: "outer"}


def _found(value: Expression, around: Surroundings) -> tuple[bool, Json]:
    try:
        return True, resolve(value, around)
    except Unresolved:
        return False, None


def _compared(condition: Compare, around: Surroundings) -> bool:
    left_there, left = _found(condition.left, around)
    right_there, right = _found(condition.right, around)
    if not (left_there and right_there):
        return False
    match condition.op:
        case "eq":
            return _equal(left, right)
        case "ne":
            return not _equal(left, right)
        case "in":
            return isinstance(right, list) and any(_equal(left, one) for one in right)
        case _:
            return _ordered(condition.op, left, right)


def _equal(left: Json, right: Json) -> bool:
    """As JSON has it: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    return left == right


def _ordered(op: str, left: Json, right: Json) -> bool:
    before: bool
    if isinstance(left, str) and isinstance(right, str):
        before = left < right
    elif _is_number(left) and _is_number(right):
        before = left < right  # type: ignore[operator] # Two numbers.
    else:
        return False
    same = left == right
    return {"lt": before, "le": before or same, "gt": not before and not same, "ge": not before}[op]


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _part(whole: Json, at: At, name: str) -> Json:
    value = whole
    for depth, key in enumerate(at):
        here = name + written(at[:depth])
        if isinstance(key, str):
            if not isinstance(value, dict):
                raise Unresolved(f"{name}{written(at)} is not there: {here} is no object but {_kind(value)}")
            if key not in value:
                raise Unresolved(f"{name}{written(at)} is not there: {here} has no field {key!r}")
            value = value[key]
        else:
            if not isinstance(value, list):
                raise Unresolved(f"{name}{written(at)} is not there: {here} is no list but {_kind(value)}")
            if not -len(value) <= key < len(value):
                raise Unresolved(f"{name}{written(at)} is not there: {here} has {len(value)} items")
            value = value[key]
    return value


def _kind(value: Json) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")
