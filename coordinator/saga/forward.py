"""Going forward: begins what comes next, and notes what is through."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.confirming import begin_confirming
from amends.coordinator.saga.doing import do
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.ending import arrive
from amends.coordinator.saga.evaluating import Unresolved, holds
from amends.coordinator.saga.fans import close, spread
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.sending import resend
from amends.coordinator.saga.state import Fan, Op, Phase, Pivot
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.stuck import give_to_operator
from amends.coordinator.saga.surroundings import Around, count_of
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.coordinator.saga.walk import Place, Zone, outer_scope


def begin_all(draft: Draft) -> None:
    """Begin the saga."""
    if _enter(draft, draft.plan.root, ""):
        arrive(draft)


def succeed(draft: Draft, step: StepDraft) -> None:
    """A step going forward is settled, by its own success or by an operator: go on."""
    draft.move(step, Phase.SETTLED)
    if step.place.zone is Zone.PIVOT:
        draft.pivot = Pivot.PASSED
        draft.wants_back = ""
        begin_confirming(draft)
    _through(draft, step.place, step.scope)


def again(draft: Draft, step: StepDraft) -> None:
    """Have a step do its current op: for the first time, or once more."""
    if step.op is not Op.DO:
        resend(draft, step)
    elif isinstance(step.place.node, EachNode):
        draft.move(step, Phase.SETTLED)  # It stood for items that could not be had.
        if _fan_out(draft, step.place, step.scope):
            succeed(draft, step)
    elif do(draft, step):
        succeed(draft, step)


def _enter(draft: Draft, place: Place, scope: str) -> bool:
    """Begin what stands in this place. True if it is through at once.

    Something in it that cannot begin may turn the saga back, or make it wait for an operator: then it is not.
    """
    key = place.id + scope
    match place.node:
        case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
            return do(draft, draft.begin_step(place, scope))
        case ChainNode():
            return _chain_on(draft, place, scope, 0)
        case GroupNode():
            draft.positions[key] = len(place.children)
            for child in place.children:
                if _enter(draft, child, scope):
                    draft.positions[key] -= 1
                elif draft.backwards:
                    return False
            return draft.positions[key] == 0
        case ChooseNode():
            branch = _choice(place.node, Around(draft, place, scope))
            draft.positions[key] = branch
            return branch == len(place.children) or _enter(draft, place.children[branch], scope)
        case EachNode():
            return _fan_out(draft, place, scope)
        case PivotNode():
            return _enter(draft, place.children[0], scope)
        case _:
            assert_never(place.node)


def _chain_on(draft: Draft, chain: Place, scope: str, index: int) -> bool:
    """Begin a chain's children from this one on, as far as they are through at once."""
    for child in chain.children[index:]:
        draft.positions[chain.id + scope] = child.index
        if not _enter(draft, child, scope):
            return False
    return True


def _choice(node: ChooseNode, around: Around) -> int:
    """The index of the first branch whose condition holds; past the last one, of `otherwise` or of nothing."""
    for index, condition in enumerate(node.conditions):
        if holds(condition, around):
            return index
    return len(node.conditions)


def _fan_out(draft: Draft, each: Place, scope: str) -> bool:
    """Begin the first items of an `each`. What it goes over may not be there: then a step of its own says so."""
    try:
        total = count_of(draft, each, scope)
    except Unresolved as missing:
        reason = f"the items of an `each` cannot be had: {missing}"
        if each.zone is Zone.BEFORE:
            turn_back(draft, reason)
        else:
            give_to_operator(draft, draft.step(each.name + scope) or draft.begin_step(each, scope), reason)
        return False
    draft.fans[each.id + scope] = Fan(total=total)
    return spread(draft, each, scope, _enter)


def _through(draft: Draft, place: Place, scope: str) -> None:
    """What stands in this place is through: go on with what comes after it."""
    while (parent := place.parent) is not None:
        match parent.node:
            case ChainNode():
                if not _chain_on(draft, parent, scope, place.index + 1):
                    return
            case GroupNode():
                draft.positions[parent.id + scope] -= 1
                if draft.positions[parent.id + scope] > 0:
                    return
            case EachNode():
                close(draft, parent, scope)
                scope = outer_scope(scope, len(parent.eaches))
                if not spread(draft, parent, scope, _enter):
                    return
            case PivotNode() | ChooseNode():
                pass
            case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
                raise AssertionError("nothing stands below a leaf")
            case _:
                assert_never(parent.node)
        place = parent
    arrive(draft)
