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
from amends.coordinator.saga.surroundings import count_of
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place, numbers, outer_scope

Begin: TypeAlias = Callable[[Draft, Place, str], bool]
"""Begins what stands in a place, in a scope. True if nothing of it is outstanding."""


def spread(
    draft: Draft, each: Place, scope: str, begin: Begin, needs: Callable[[Place], bool] | None = None
) -> bool:
    """Begin further items, in order, up to the most that may be under way. True if all are through.

    `needs` tells which of their steps are to be at hand; none, if they have still to begin. Raises: NotLoaded.
    """
    key = each.id + scope
    backwards = draft.backwards
    fan = draft.fans[key]
    window = _Window(draft, each, scope)
    while fan.next < fan.total and len(fan.open) < _at_most(each):
        number = fan.next
        if needs is not None and number >= window.end:
            window.ask(range(number, min(fan.total, number + window.room)), needs)
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
    _Window(draft, each, scope).ask(fan.open)
    for number in fan.open:
        item = f"{scope}/{number}"
        if begin(draft, each.children[0], item):
            close(draft, each, item)
    return retreat(draft, each, scope, begin)


def retreat(draft: Draft, each: Place, scope: str, begin: Begin) -> bool:
    """Give back further items, from the last one down. True if all are given back. Raises: NotLoaded."""
    key = each.id + scope
    fan = draft.fans[key]
    if not each.undoes and fan.next > 0:
        # Those that are through leave nothing to undo: they need not be looked at.
        draft.fans[key] = fan = replace(fan, next=0, skip=())
    window = _Window(draft, each, scope)
    window.begin = fan.next
    while fan.next > 0 and len(fan.open) < _at_most(each):
        number = fan.next - 1
        if number < window.begin:
            window.ask(range(max(0, fan.next - window.room), fan.next))
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
        total = count_of(draft, each, scope)
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


class _Window:
    """The steps of the items that come next are asked for together: so many items, then twice as many each time.

    So an event whose items are under way at once asks for few, and one that finds nothing to do in thousands of items
    asks seldom. Steps in an inner `each` are asked for there.
    """

    __slots__ = ("_draft", "_each", "_scope", "begin", "end", "room")

    def __init__(self, draft: Draft, each: Place, scope: str) -> None:
        self._draft = draft
        self._each = each
        self._scope = scope
        self.begin = self.end = 0
        self.room = max(1, _at_most(each) - len(fan.open)) if (fan := draft.fans.get(each.id + scope)) else 1

    def ask(self, items: range | tuple[int, ...], needs: Callable[[Place], bool] | None = None) -> None:
        """Have the steps of these items at hand, all or those that are needed. Raises: NotLoaded."""
        if isinstance(items, range):
            self.begin, self.end = items.start, items.stop
            self.room *= 2
        leaves = self._each.children[0].leaves(len(self._each.eaches) + 1)
        names = [place.name for place in leaves if needs is None or needs(place)]
        self._draft.require(f"{name}{self._scope}/{item}" for item in items for name in names)


def _at_most(each: Place) -> int:
    assert isinstance(each.node, EachNode)
    return each.node.at_most
