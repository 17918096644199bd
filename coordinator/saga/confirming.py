"""Confirms what was tried, and settles children, once the saga has decided (P2, K2). All of it side by side.

What the walks forward noted of these nodes is needed no more: nothing turns back after the decision. So `positions`
and `fans` count here what is still to be confirmed.
"""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.draft import CONFIRMING, Draft
from amends.coordinator.saga.effects import Order, Tell
from amends.coordinator.saga.fans import began, close, spread
from amends.coordinator.saga.identity import child_of, parent_of
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.state import Did, Fan, Op, Phase
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.coordinator.saga.walk import Place, outer_scope


def begin_confirming(draft: Draft) -> None:
    """Ask for every confirm, tell every child. The decision is stored with it, in one transaction."""
    draft.require(leaf.name for leaf in draft.plan.root.leaves(0) if leaf.settles)
    outstanding = sum(not _confirm(draft, child, "") for child in draft.plan.root.children)
    if outstanding:
        draft.positions[CONFIRMING] = outstanding


def confirmed(draft: Draft, step: StepDraft) -> None:
    """A step is confirmed, or an operator settled that: go on with what waits for it."""
    draft.move(step, Phase.SETTLED)
    place, scope = step.place, step.scope
    while (parent := place.parent) is not None and parent is not draft.plan.root:
        if isinstance(parent.node, EachNode):
            close(draft, parent, scope)
            scope = outer_scope(scope, len(parent.eaches))
            if not spread(draft, parent, scope, _confirm, _is_settled):
                return
        elif draft.count(parent.id + scope, -1) > 0:
            return
        place = parent
    draft.count(CONFIRMING, -1)


def _confirm(draft: Draft, place: Place, scope: str) -> bool:
    """Begin to confirm a place and what is below. True if nothing is outstanding there."""
    if not place.settles:
        return True
    key = place.id + scope
    match place.node:
        case StepNode():
            step = draft.step(place.name + scope)
            if step is None or step.did is not Did.DONE:
                return True  # It did not run, or an operator answers for it (A2).
            ask(draft, step, Op.CONFIRM)
            return False
        case CallNode():
            step = draft.step(place.name + scope)
            if step is not None and step.did is Did.DONE:
                settle_child(draft, step)
            return True
        case EachNode():
            fan = began(draft, place, scope)
            if fan is None:
                return True
            draft.fans[key] = Fan(total=fan.total)
            return spread(draft, place, scope, _confirm, _is_settled)
        case ChainNode() | GroupNode() | ChooseNode() | PivotNode():
            children = place.children
            if isinstance(place.node, ChooseNode):
                children = chosen(draft, place, scope)
            outstanding = sum(not _confirm(draft, child, scope) for child in children)
            draft.positions.pop(key, None)
            draft.count(key, outstanding)
            return outstanding == 0
        case WaitNode() | SleepNode() | EmitNode():
            return True
        case _:
            assert_never(place.node)


def _is_settled(place: Place) -> bool:
    return place.settles


def chosen(draft: Draft, choose: Place, scope: str) -> tuple[Place, ...]:
    """The branch that was taken; all of them if that is not noted any more: the others have no steps."""
    branch = draft.positions.get(choose.id + scope)
    if branch is not None:
        return choose.children[branch : branch + 1]
    return choose.children if scope else ()


def settle_child(draft: Draft, step: StepDraft) -> None:
    """Tell a child that its parent has decided to keep it (K2). The outbox sees to it that it hears."""
    step.op = Op.CONFIRM
    order = Tell(child=child_of(draft, step), order=Order.SETTLE, parent=parent_of(draft, step))
    draft.effects.append(order)
