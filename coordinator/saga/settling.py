"""Tells all children at once what their parent has come to when an operator ended it as it is (A4)."""

from __future__ import annotations

from collections.abc import Iterator

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Order, Tell
from amends.coordinator.saga.fans import began
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.leaves import CallNode
from amends.coordinator.saga.state import Did, Op
from amends.coordinator.saga.tree import EachNode
from amends.coordinator.saga.walk import Place


def tell_children(draft: Draft, order: Order) -> None:
    """Tell every child that may stand and has not been told what is decided. Raises: NotLoaded."""
    paths = list(_calls(draft, draft.plan.root, ""))
    draft.require(paths)
    for path in paths:
        step = draft.step(path)
        if step is not None and step.did in (Did.UNKNOWN, Did.DONE) and step.op in (Op.DO, Op.FENCE):
            tell = Tell(child=child_of(draft, step), order=order, parent=parent_of(draft, step))
            draft.effects.append(tell)


def _calls(draft: Draft, place: Place, scope: str) -> Iterator[str]:
    """The paths of all calls that may have begun."""
    if not place.calls:
        return
    if isinstance(place.node, CallNode):
        yield place.name + scope
    elif isinstance(place.node, EachNode):
        fan = began(draft, place, scope)
        for number in range(fan.total if fan is not None else 0):
            yield from _calls(draft, place.children[0], f"{scope}/{number}")
    else:
        for child in place.children:
            yield from _calls(draft, child, scope)
