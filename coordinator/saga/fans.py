"""`each`: keeps so many of its items under way, forwards and backwards, at a cost that does not rise with their number.

What is finished leaves nothing in the header: of an item that is through only its steps tell, and they are asked for
when it is given back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.evaluating import Unresolved
from amends.coordinator.saga.state import Fan
from amends.coordinator.saga.surroundings import count_of, items_of
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place, numbers, outer_scope

Begin: TypeAlias = Callable[[Draft, Place, str], bool]
"""Begins what stands in a place, in a scope. True if nothing of it is outstanding."""


def spread(draft: Draft, each: Place, scope: str, begin: Begin) -> bool:
    """Begin further items, in order, up to the most that may be under way. True if all are through."""
    key = each.id + scope
    backwards = draft.backwards
    fan = draft.fans[key]
    while fan.next < fan.total and len(fan.open) < _at_most(each):
        number = fan.next
        draft.fans[key] = replace(fan, next=number + 1, open=(*fan.open, number))
        item = f"{scope}/{number}"
        if begin(draft, each.children[0], item):
            close(draft, each, item)
        if draft.backwards is not backwards:
            return False  # Something in it turned the saga back, and with it this `each`.
        fan = draft.fans[key]
    return not fan.open and fan.next == fan.total


def give_back(draft: Draft, each: Place, scope: str, begin: Begin) -> bool:
    """Begin to give back all items: those under way at once (C2). True if nothing is outstanding."""
    fan = began(draft, each, scope)
    if fan is None:
        return True
    draft.fans[each.id + scope] = replace(fan, skip=fan.open)
    _have(draft, each, scope, fan.open)
    for number in fan.open:
        item = f"{scope}/{number}"
        if begin(draft, each.children[0], item):
            close(draft, each, item)
    return retreat(draft, each, scope, begin)


def retreat(draft: Draft, each: Place, scope: str, begin: Begin) -> bool:
    """Give back further items, from the last one down. True if all are given back."""
    key = each.id + scope
    fan = draft.fans[key]
    room = _at_most(each) - len(fan.open)
    _have(draft, each, scope, range(max(0, fan.next - room), fan.next))
    while fan.next > 0 and len(fan.open) < _at_most(each):
        number = fan.next - 1
        if number in fan.skip:
            skip = tuple(one for one in fan.skip if one != number)
            draft.fans[key] = fan = replace(fan, next=number, skip=skip)
            continue
        draft.fans[key] = replace(fan, next=number, open=(*fan.open, number))
        item = f"{scope}/{number}"
        if begin(draft, each.children[0], item):
            close(draft, each, item)
        fan = draft.fans[key]
    return not fan.open and fan.next == 0


def began(draft: Draft, each: Place, scope: str) -> Fan | None:
    """How far an `each` is, or was when it was through; None if it never began."""
    fan = draft.fans.get(each.id + scope)
    if fan is not None or not scope:
        return fan
    try:
        # In an item that is through nothing is noted any more: it is made out again.
        total = count_of(each, items_of(draft, each, scope))
    except Unresolved:
        return None
    return Fan(total=total, next=total)


def close(draft: Draft, each: Place, item: str) -> None:
    """An item is through, or given back: forget where it stood."""
    key = each.id + outer_scope(item, len(each.eaches))
    number = numbers(item)[-1]
    fan = draft.fans[key]
    draft.fans[key] = replace(fan, open=tuple(one for one in fan.open if one != number))
    for place in each.children[0].below():
        if place.children:
            draft.positions.pop(place.id + item, None)
            draft.fans.pop(place.id + item, None)


def _have(draft: Draft, each: Place, scope: str, wanted: range | tuple[int, ...]) -> None:
    """Have the steps of these items at hand, all at once; those of an inner `each` are asked for there."""
    depth = len(each.eaches) + 1
    names = [
        place.name for place in each.children[0].below() if not place.children and len(place.eaches) == depth
    ]
    draft.require(f"{name}{scope}/{number}" for number in wanted for name in names)


def _at_most(each: Place) -> int:
    assert isinstance(each.node, EachNode)
    return each.node.at_most
