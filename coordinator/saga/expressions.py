"""Expressions as data: what a step's args are made of, and what `choose` will decide by.

Their JSON form is one tag and its operands: `{"arg": ["card"]}`, `{"result": "reserve", "at": ["id"]}`,
`{"literal": 5}`, `{"object": {...}}`, `{"list": [...]}`, `{"compare": "eq", "left": ..., "right": ...}`,
`{"and": [a, b]}`, `{"or": [a, b]}`, `{"not": a}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from amends.coordinator.saga.json import Json

At: TypeAlias = tuple[str | int, ...]

COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge", "in")


class Unresolved(Exception):
    """A reference points at something that is not there; the text says which and where."""


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


Condition: TypeAlias = Compare | Both | Either | Not
Value: TypeAlias = Literal | Input | Result | Object | List
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
        case Not():
            yield from parts(expression.operand)
        case Literal() | Input() | Result():
            pass
        case _:
            assert_never(expression)


def resolve(value: Expression, saga_input: Json, result_of: Callable[[str], Json]) -> Json:
    """The JSON that a value stands for in one saga.

    Raises: Unresolved if something it points at is not there.
    """
    match value:
        case Input():
            return _part(saga_input, value.at, "arg")
        case Literal():
            return value.value
        case Object():
            return {key: resolve(field, saga_input, result_of) for key, field in value.fields}
        case Result():
            return _part(result_of(value.step), value.at, f"result({value.step!r})")
        case List():
            return [resolve(item, saga_input, result_of) for item in value.items]
        case Compare() | Both() | Either() | Not():
            raise Unresolved("a comparison is no value")  # The static rules keep it out of args.
        case _:
            assert_never(value)


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
