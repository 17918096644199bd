"""What a definition asks for, made out without the machine: which steps there are, and which come before which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.expressions import Compare, Expression, Input, Item, Literal
from amends.coordinator.saga.leaves import LEAVES
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, Node, children_of
from amends.coordinator.saga.walk import scope_of


class Before(NamedTuple):
    """A leaf that comes before another; of those in the same items, as many `each` as both stand in there."""

    name: str
    shared: int


Order = Mapping[str, frozenset[Before]]


def order_of(definition: Definition) -> Order:
    """Per leaf, the leaves that come before it."""
    before: dict[str, frozenset[Before]] = {}
    _order(definition.root, frozenset(), 0, before)
    return before


def _order(
    node: Node, earlier: frozenset[Before], eaches: int, before: dict[str, frozenset[Before]]
) -> set[str]:
    if isinstance(node, LEAVES):
        before[node.name] = earlier
        return {node.name}
    below: set[str] = set()
    around = eaches + isinstance(node, EachNode)
    for child in children_of(node):
        here = earlier | {Before(name, eaches) for name in below} if isinstance(node, ChainNode) else earlier
        below |= _order(child, here, around, before)
    return below


def comes_before(order: Order, first: str, second: str) -> bool:
    """Whether one step comes before another, given their paths."""
    name, numbers = first.split("/")[0], scope_of(first).split("/")
    others = scope_of(second).split("/")
    return any(
        one.name == name and numbers[: one.shared + 1] == others[: one.shared + 1]
        for one in order.get(second.split("/")[0], ())  # What stands for a whole `each` is in no order.
    )


def expected_paths(definition: Definition, given: Any) -> frozenset[str]:
    """The paths of all steps of a saga that goes through to its end."""
    return frozenset(_paths(definition.root, given, (), ""))


def _paths(node: Node, given: Any, items: tuple[Any, ...], scope: str) -> Iterator[str]:
    if isinstance(node, LEAVES):
        yield node.name + scope
    elif isinstance(node, EachNode):
        found = _value(node.over, given, items) or []  # Of a chunk there is no part: then it never begins.
        size = node.chunk or 1
        chunks = [found[at : at + size] for at in range(0, len(found), size)] if node.chunk else found
        for number, one in enumerate(chunks):
            yield from _paths(node.child, given, (one, *items), f"{scope}/{number}")
    elif isinstance(node, ChooseNode):
        for condition, branch in zip(node.conditions, node.branches, strict=True):
            if _holds(condition, given, items):
                yield from _paths(branch, given, items, scope)
                return
        if node.otherwise is not None:
            yield from _paths(node.otherwise, given, items, scope)
    else:
        for child in children_of(node):
            yield from _paths(child, given, items, scope)


def _holds(condition: Expression, given: Any, items: tuple[Any, ...]) -> bool:
    assert isinstance(condition, Compare)
    left, right = _value(condition.left, given, items), _value(condition.right, given, items)
    if left is None:
        return False
    return bool(left > right) if condition.op == "gt" else bool(left == right)


def _value(value: Expression, given: Any, items: tuple[Any, ...]) -> Any:
    match value:
        case Literal():
            return value.value
        case Input():
            return _part(given, value.at)
        case Item():
            return _part(items[value.level], value.at)
        case _:
            raise AssertionError(f"the author of random sagas writes no {value}")


def _part(whole: Any, at: tuple[str | int, ...]) -> Any:
    for key in at:
        whole = whole.get(key) if isinstance(whole, dict) else None
    return whole
