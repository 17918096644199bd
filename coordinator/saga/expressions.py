"""Expressions as data: what a step's args are made of, and what `choose` decides by.

Their JSON form is one tag and its operands: `{"arg": ["card"]}`, `{"result": "reserve", "at": ["id"]}`,
`{"item": 0, "at": ["sku"]}`, `{"literal": 5}`, `{"object": {...}}`, `{"list": [...]}`,
`{"compare": "eq", "left": ..., "right": ...}`, `{"exists": a}`, `{"and": [a, b]}`, `{"or": [a, b]}`, `{"not": a}`.

What they come to in one saga: `evaluating.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from amends.coordinator.saga.json import Json

At: TypeAlias = tuple[str | int, ...]

COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge", "in")


@dataclass(frozen=True, slots=True)
class Literal:
    """A JSON value, as it is."""

    value: Json


@dataclass(frozen=True, slots=True)
class Input:
    """A part of the saga's input; all of it if `at` is empty."""

    at: At


@dataclass(frozen=True, slots=True)
class Result:
    """A part of an earlier step's result."""

    step: str
    at: At


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the item that an `each` is at: of the innermost one around for `level` 0, of the next for 1."""

    level: int
    at: At


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object made of expressions."""

    fields: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class List:
    """A JSON list made of expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison; `op` is one of COMPARISONS."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Exists:
    """The part that `operand` points at is there, and is not null."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Both:
    """Both are true."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Either:
    """One or both are true."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """It is not true."""

    operand: Expression


Condition: TypeAlias = Compare | Exists | Both | Either | Not
Reference: TypeAlias = Input | Result | Item
Value: TypeAlias = Literal | Reference | Object | List
Expression: TypeAlias = Value | Condition


def written(at: At) -> str:
    """The way to a part, as it is written in a definition: `.lines[0].sku`."""
    return "".join(f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]" for key in at)


def to_json(expression: Expression) -> Json:
    """The stored form."""
    match expression:
        case Literal():
            return {"literal": expression.value}
        case Input():
            return {"arg": list(expression.at)}
        case Result():
            return {"result": expression.step, "at": list(expression.at)}
        case Item():
            return {"item": expression.level, "at": list(expression.at)}
        case Object():
            return {"object": {key: to_json(value) for key, value in expression.fields}}
        case List():
            return {"list": [to_json(item) for item in expression.items]}
        case Compare():
            return {
                "compare": expression.op,
                "left": to_json(expression.left),
                "right": to_json(expression.right),
            }
        case Exists():
            return {"exists": to_json(expression.operand)}
        case Both():
            return {"and": [to_json(expression.left), to_json(expression.right)]}
        case Either():
            return {"or": [to_json(expression.left), to_json(expression.right)]}
        case Not():
            return {"not": to_json(expression.operand)}
        case _:
            assert_never(expression)


def parts(expression: Expression) -> Iterator[Expression]:
    """The expression and everything in it."""
    yield expression
    match expression:
        case Object():
            for _, value in expression.fields:
                yield from parts(value)
        case List():
            for item in expression.items:
                yield from parts(item)
        case Compare() | Both() | Either():
            yield from parts(expression.left)
            yield from parts(expression.right)
        case Not() | Exists():
            yield from parts(expression.operand)
        case Literal() | Input() | Result() | Item():
            pass
        case _:
            assert_never(expression)
