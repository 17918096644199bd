"""`arg`, `result("step")` and `item`: how a definition speaks of values that exist only when a saga runs.

They are no values but descriptions: `arg.card`, `arg["class"]`, `result("reserve").lines[0]`. Comparing them makes a
description too, which `choose` takes; `&`, `|` and `~` combine. Nothing is evaluated while a saga is declared, so
asking one for its truth, its items or its text is an error that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

from amends.coordinator.saga.evaluating import ITEM_NAMES
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
    to_json,
    written,
)
from amends.coordinator.saga.json import Json


class Described:
    """Something that has a value only when a saga runs. Comparing it describes a condition."""

    __slots__ = ("_expression",)
    __hash__ = None  # type: ignore[assignment] # Equality describes a comparison, so no set or dict can hold one.

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return _compare("eq", self, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return _compare("ne", self, other)

    def __lt__(self, other: object) -> Condition:
        return _compare("lt", self, other)

    def __le__(self, other: object) -> Condition:
        return _compare("le", self, other)

    def __gt__(self, other: object) -> Condition:
        return _compare("gt", self, other)

    def __ge__(self, other: object) -> Condition:
        return _compare("ge", self, other)

    def __and__(self, other: object) -> Condition:
        return Condition(Both(self._expression, expression_of(other)))

    def __rand__(self, other: object) -> Condition:
        return Condition(Both(expression_of(other), self._expression))

    def __or__(self, other: object) -> Condition:
        return Condition(Either(self._expression, expression_of(other)))

    def __ror__(self, other: object) -> Condition:
        return Condition(Either(expression_of(other), self._expression))

    def __invert__(self) -> Condition:
        return Condition(Not(self._expression))

    def in_(self, choices: object) -> Condition:
        """It is one of these."""
        return _compare("in", self, choices)

    def exists(self) -> Condition:
        """It is there, and is not null. (A field that is called so: `arg["exists"]`.)"""
        return Condition(Exists(self._expression))

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no value yet: it is known only when a saga runs; "
            f"combine conditions with & | ~ instead of `and`, `or`, `not`, "
            f"and write x.in_(choices) instead of `x in choices`"
        )

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no items yet: its value is known only when a saga runs; refer to one by index"
        )

    def __str__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no text yet: its value is known only when a saga runs; pass it as a field"
        )

    def __format__(self, format_spec: str) -> NoReturn:
        str(self)
        raise AssertionError  # str() of a description raises.

    def __repr__(self) -> str:
        return _written(self._expression)


class Condition(Described):
    """A comparison, or several combined."""

    __slots__ = ()


class Reference(Described):
    """A value of the running saga: attributes and items lead to its parts."""

    __slots__ = ()
    _expression: Input | Result | Item

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(f"write [{name!r}] for a field whose name begins with an underscore")
        return self[name]

    def __getitem__(self, key: str | int) -> Reference:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(f"{self!r}[{key!r}]: a field has a name and an item a number")
        at: At = (*self._expression.at, key)
        return Reference(replace(self._expression, at=at))

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_expression":
            raise TypeError(f"{self!r}.{name} cannot be set: a definition only refers to values")
        super().__setattr__(name, value)


arg = Reference(Input(()))
"""The saga's input: `arg.total`, `arg["class"]`, `arg.lines[0]`; `arg` alone is all of it."""


item = Reference(Item(0, ()))
"""Inside `each`: the item it is at, or with `chunk=` the list of items."""

outer = Reference(Item(1, ()))
"""Inside an `each` that stands in another: the item that the outer one is at."""


def result(step: str) -> Reference:
    """The result of a step that is certain to have run: `result("reserve").id`.

    Of a step inside an `each`, seen from outside of it: the list of all results, in the order of the items.
    """
    return Reference(Result(step, ()))


def expression_of(value: object) -> Expression:
    """The expression that a value of a definition stands for: descriptions, JSON values, and mixtures of both.

    Raises: TypeError for what has no JSON form.
    """
    return _expression_of(value, "")


def json_of(value: object) -> Json:
    """The stored form of `expression_of`."""
    return to_json(expression_of(value))


def object_of(fields: Iterable[tuple[str, Expression]]) -> Expression:
    """An object of expressions, by field name; one literal if there is nothing to resolve in it."""
    pairs = tuple(sorted(fields, key=lambda pair: pair[0]))
    if all(isinstance(value, Literal) for _, value in pairs):
        return Literal({key: value.value for key, value in pairs if isinstance(value, Literal)})
    return Object(pairs)


def list_of(items: Iterable[Expression]) -> Expression:
    """A list of expressions; one literal if there is nothing to resolve in it."""
    values = tuple(items)
    if all(isinstance(value, Literal) for value in values):
        return Literal([value.value for value in values if isinstance(value, Literal)])
    return List(values)


def _expression_of(value: object, place: str) -> Expression:
    if isinstance(value, Described):
        return value._expression
    if value is None or isinstance(value, bool | int | float | str):
        return Literal(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"args{place}: the key {key!r} is no string")
        return object_of((key, _expression_of(field, f"{place}[{key!r}]")) for key, field in value.items())
    if isinstance(value, list | tuple):
        return list_of(_expression_of(item, f"{place}[{index}]") for index, item in enumerate(value))
    raise TypeError(
        f"args{place}: {type(value).__name__} has no JSON form; "
        f"use references, strings, numbers, booleans, None, and lists or dicts of them"
    )


def _compare(op: str, left: Described, right: object) -> Condition:
    return Condition(Compare(op, left._expression, expression_of(right)))


_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _written(expression: Expression) -> str:
    match expression:
        case Input():
            return f"arg{written(expression.at)}"
        case Result():
            return f"result({expression.step!r}){written(expression.at)}"
        case Item():
            return f"{ITEM_NAMES.get(expression.level, 'item')}{written(expression.at)}"
        case Exists():
            return f"{_written(expression.operand)}.exists()"
        case Literal():
            return repr(expression.value)
        case Object():
            return "{" + ", ".join(f"{key!r}: {_written(value)}" for key, value in expression.fields) + "}"
        case List():
            return "[" + ", ".join(_written(item) for item in expression.items) + "]"
        case Compare(op="in"):
            return f"{_written(expression.left)}.in_({_written(expression.right)})"
        case Compare():
            return f"({_written(expression.left)} {_SIGNS[expression.op]} {_written(expression.right)})"
        case Both():
            return f"({_written(expression.left)} & {_written(expression.right)})"
        case Either():
            return f"({_written(expression.left)} | {_written(expression.right)})"
        case Not():
            return f"~{_written(expression.operand)}"
