"""What the conditions around a node say of references: which are certain to be there, and not null.

`result("approved").exists()`, and what follows from it by `&`, `|`, `~` and the order of a `choose`: a branch runs if
its condition is true and those before it are not, `otherwise` if none of them is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Final, TypeAlias, assert_never

from amends.coordinator.saga.expressions import (
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
    Reference,
    Result,
)
from amends.coordinator.saga.tree import ChooseNode, EachNode, Node

There: TypeAlias = frozenset[Reference]

NOTHING: Final[There] = frozenset()
_ORDERED: Final = ("lt", "le", "gt", "ge")
_LEVEL_MAX: Final = 1  # `outer` is as far as a reference to an item goes.


def of_child(node: Node, number: int, there: There) -> There:
    """What is certain to be there in a node's child, given what is where the node stands."""
    if isinstance(node, ChooseNode):
        for condition in islice(node.conditions, number):
            there |= if_false(condition)
        return there | if_true(node.conditions[number]) if number < len(node.conditions) else there
    if isinstance(node, EachNode):
        return frozenset(moved for one in there for moved in _seen_from_an_item(one))
    return there


def _seen_from_an_item(one: Reference) -> tuple[Reference, ...]:
    if not isinstance(one, Item):
        return (one,)
    return (replace(one, level=one.level + 1),) if one.level < _LEVEL_MAX else ()


def if_true(condition: Expression) -> There:
    """The references that are there, and not null, where a condition is true."""
    match condition:
        case Exists():
            return _with_what_holds_it(condition.operand)
        case Both():
            return if_true(condition.left) | if_true(condition.right)
        case Either():
            return if_true(condition.left) & if_true(condition.right)
        case Not():
            return if_false(condition.operand)
        case Compare():
            return _compared(condition, condition.left, condition.right) | _compared(
                condition, condition.right, condition.left
            )
        case Input() | Result() | Item():
            return _with_what_holds_it(condition)  # It is true itself.
        case Literal() | Object() | List():
            return NOTHING
        case _:
            assert_never(condition)


def if_false(condition: Expression) -> There:
    """The references that are there, and not null, where a condition is false."""
    match condition:
        case Not():
            return if_true(condition.operand)
        case Both():
            return if_false(condition.left) & if_false(condition.right)
        case Either():
            return if_false(condition.left) | if_false(condition.right)
        case _:
            return NOTHING  # A comparison with something missing is false too.


def _compared(condition: Compare, one: Expression, other: Expression) -> There:
    """Both sides of a comparison that is true are there; null is equal to null, and has no order."""
    if not isinstance(one, Input | Result | Item):
        return NOTHING
    known = isinstance(other, Literal) and other.value is not None
    if condition.op in _ORDERED or (condition.op == "eq" and known):
        return _with_what_holds_it(one)
    return _with_what_holds_it(replace(one, at=one.at[:-1])) if one.at else NOTHING


def _with_what_holds_it(value: Expression) -> There:
    if not isinstance(value, Input | Result | Item):
        return NOTHING
    return frozenset(replace(value, at=value.at[:depth]) for depth in range(len(value.at) + 1))
