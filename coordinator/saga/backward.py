"""Compensation: walks back over what was begun, in reverse order, branches side by side (C1, C2)."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.confirming import chosen
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Publish
from amends.coordinator.saga.ending import compensated
from amends.coordinator.saga.fans import close, give_back, retreat
from amends.coordinator.saga.leaves import CallNode, EmitNode, SleepNode, StepNode, WaitNode
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.state import Did, Op, Phase, Status
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.stuck import give_to_operator
from amends.coordinator.saga.tree import ChainNode, ChooseNode, EachNode, GroupNode, PivotNode
from amends.coordinator.saga.walk import Place, outer_scope


def turn_back(draft: Draft, cause: str) -> None:
    """Compensate everything that was begun, from now on, also what is in flight (C2)."""
    draft.backwards = True
    draft.status = Status.COMPENSATING
    draft.cause = cause
    draft.wants_back = ""
    draft.finishing = False  # What was to stay as it is does not stay after all.
    draft.require(leaf.name for leaf in draft.plan.root.leaves(0))
    if _give_back(draft, draft.plan.root, ""):
        compensated(draft)


def given_back(draft: Draft, place: Place, scope: str) -> None:
    """What stands in this place is compensated: go on with what came before it."""
    while (parent := place.parent) is not None:
        match parent.node:
            case ChainNode():
                if not _chain_back(draft, parent, scope, place.index - 1):
                    return
            case GroupNode() | ChooseNode():
                draft.positions[parent.id + scope] -= 1
                if draft.positions[parent.id + scope] > 0:
                    return
            case EachNode():
                close(draft, parent, scope)
                scope = outer_scope(scope, len(parent.eaches))
                if not retreat(draft, parent, scope, _give_back):
                    return
            case PivotNode():
                pass
            case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
                raise AssertionError("nothing stands below a leaf")
            case _:
                assert_never(parent.node)
        place = parent
    compensated(draft)


def _give_back(draft: Draft, place: Place, scope: str) -> bool:
    """Begin to compensate a place and what is below. True if nothing is outstanding there."""
    key = place.id + scope
    match place.node:
        case StepNode() | WaitNode() | SleepNode() | EmitNode() | CallNode():
            step = draft.step(place.name + scope)
            return step is None or undo(draft, step)
        case ChainNode():
            if key in draft.positions:
                return _chain_back(draft, place, scope, draft.positions[key])
            # In an item of an `each` that is through it is not noted any more; elsewhere it never began.
            return not scope or _chain_back(draft, place, scope, len(place.children) - 1)
        case GroupNode():
            if key not in draft.positions and not scope:
                return True
            return _side_by_side(draft, key, place.children, scope)
        case ChooseNode():
            return _side_by_side(draft, key, chosen(draft, place, scope), scope)
        case EachNode():
            return give_back(draft, place, scope, _give_back)
        case PivotNode():
            return _give_back(draft, place.children[0], scope)
        case _:
            assert_never(place.node)


def _chain_back(draft: Draft, chain: Place, scope: str, index: int) -> bool:
    """Compensate a chain's children from this one down, one after another."""
    while index >= 0:
        draft.positions[chain.id + scope] = index
        if not _give_back(draft, chain.children[index], scope):
            return False
        index -= 1
    return True


def _side_by_side(draft: Draft, key: str, children: tuple[Place, ...], scope: str) -> bool:
    outstanding = sum(not _give_back(draft, child, scope) for child in children)
    draft.positions[key] = outstanding
    return outstanding == 0


def undo(draft: Draft, step: StepDraft) -> bool:
    """Undo one step, as far as it may have happened (C1). True if there is nothing to wait for."""
    if step.did in (Did.UNSENT, Did.REFUSED, Did.NEVER):
        return _nothing_to_undo(draft, step)
    match step.place.leaf:
        case StepNode():
            return _undo_command(draft, step)
        case EmitNode() as node:
            if node.undo is not None and step.op is Op.DO:
                effect = Publish(path=step.path, op=Op.UNDO, type=node.undo, data=step.result)
                draft.effects.append(effect)
                step.op = Op.UNDO
            return _nothing_to_undo(draft, step)
        case CallNode():
            return _undo_call(draft, step)
        case WaitNode() | SleepNode():
            return _nothing_to_undo(draft, step)
        case _:
            assert_never(step.place.leaf)


def _undo_command(draft: Draft, step: StepDraft) -> bool:
    node = step.place.step
    if node.reads:
        return _nothing_to_undo(draft, step)
    if step.did not in (Did.SKIPPED, Did.FORCED):
        step.override = None  # Skipping its `do` was about going on; the saga turned back instead.
    if node.undo is not None:
        ask(draft, step, Op.UNDO)
        return False
    match step.did:
        case Did.DONE | Did.SKIPPED | Did.FORCED:
            return _nothing_to_undo(draft, step)
        case Did.IN_DOUBT:
            step.op, step.closes = Op.FENCE, Op.DO  # What a retry would ask.
            give_to_operator(
                draft, step, f"nothing can undo it, and whether it happened is in doubt: {step.error}"
            )
            return False
        case Did.UNKNOWN:
            ask(draft, step, Op.FENCE, closes=Op.DO)
            return False
        case Did.UNSENT | Did.REFUSED | Did.NEVER:
            return _nothing_to_undo(draft, step)
        case _:
            assert_never(step.did)


def _undo_call(draft: Draft, step: StepDraft) -> bool:
    """Tell the child to compensate; its report settles the call (K2). One that an operator skipped knows already."""
    if step.did in (Did.SKIPPED, Did.FORCED):
        return _nothing_to_undo(draft, step)
    ask(draft, step, Op.UNDO)
    return False


def _nothing_to_undo(draft: Draft, step: StepDraft) -> bool:
    draft.move(step, Phase.SETTLED)
    return True
