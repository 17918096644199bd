"""Compensation: walks back over what was begun, in reverse order, branches side by side (C1, C2)."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.draft import Draft, StepDraft
from amends.coordinator.saga.effects import Ended
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.state import Did, Op, Phase, Status
from amends.coordinator.saga.stuck import give_to_operator
from amends.coordinator.saga.tree import ChainNode, GroupNode, PivotNode, StepNode
from amends.coordinator.saga.walk import Place


def turn_back(draft: Draft, cause: str) -> None:
    """Compensate everything that was begun, from now on, also what is in flight (C2)."""
    draft.backwards = True
    draft.status = Status.COMPENSATING
    draft.cause = cause
    draft.wants_back = ""
    if _give_back(draft, draft.plan.root):
        _compensated(draft)


def given_back(draft: Draft, place: Place) -> None:
    """What stands in this place is compensated: go on with what came before it."""
    while (parent := place.parent) is not None:
        match parent.node:
            case ChainNode():
                if not _chain_back(draft, parent, place.index - 1):
                    return
            case GroupNode():
                draft.positions[parent.id] -= 1
                if draft.positions[parent.id] > 0:
                    return
            case PivotNode() | StepNode():
                pass
            case _:
                assert_never(parent.node)
        place = parent
    _compensated(draft)


def _give_back(draft: Draft, place: Place) -> bool:
    """Begin to compensate a place and what is below. True if nothing is outstanding there."""
    match place.node:
        case StepNode():
            step = draft.step(place.node.name)
            return step is None or _undo(draft, step)
        case ChainNode():
            return place.id not in draft.positions or _chain_back(draft, place, draft.positions[place.id])
        case GroupNode():
            if place.id not in draft.positions:
                return True
            outstanding = sum(not _give_back(draft, child) for child in place.children)
            draft.positions[place.id] = outstanding
            return outstanding == 0
        case PivotNode():
            return _give_back(draft, place.children[0])
        case _:
            assert_never(place.node)


def _chain_back(draft: Draft, chain: Place, index: int) -> bool:
    """Compensate a chain's children from this one down, one after another."""
    while index >= 0:
        draft.positions[chain.id] = index
        if not _give_back(draft, chain.children[index]):
            return False
        index -= 1
    return True


def _undo(draft: Draft, step: StepDraft) -> bool:
    """Undo one step, as far as it may have happened (C1). True if there is nothing to wait for."""
    node = step.place.step
    if node.reads or step.did in (Did.UNSENT, Did.REFUSED, Did.NEVER):
        return _nothing_to_undo(draft, step)
    if step.did is not Did.SKIPPED:
        step.override = None  # Skipping its `do` was about going on; the saga turned back instead.
    if node.undo is not None:
        ask(draft, step, Op.UNDO)
        return False
    match step.did:
        case Did.DONE | Did.SKIPPED:
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
        case _:
            assert_never(step.did)


def _nothing_to_undo(draft: Draft, step: StepDraft) -> bool:
    draft.move(step, Phase.SETTLED)
    return True


def _compensated(draft: Draft) -> None:
    draft.status = Status.COMPENSATED
    draft.effects.append(Ended(status=Status.COMPENSATED))
