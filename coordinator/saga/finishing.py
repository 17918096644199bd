"""Finish as is: an operator ends a stuck saga where it stands (A1, A4, A5).

Everything outstanding is closed by a fence, so that it is known, and stays as it is found; children are told. Once
the last answer is there the saga has ended, without doing anything else.
"""

from __future__ import annotations

from amends.coordinator.saga.draft import CONFIRMING, Draft
from amends.coordinator.saga.effects import Order
from amends.coordinator.saga.ending import arrive, compensated
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.sending import ask
from amends.coordinator.saga.settling import tell_children
from amends.coordinator.saga.state import Did, Op, Phase
from amends.coordinator.saga.step_draft import StepDraft


def finish(draft: Draft, override: str) -> None:
    """Close what is outstanding, and end once that is answered."""
    draft.finishing = True
    for step in list(draft.steps()):
        if step.phase is not Phase.SETTLED:
            _close(draft, step, override)
    finished(draft)


def finished(draft: Draft) -> None:
    """End the saga if nothing is outstanding any more, and tell its children; one that is held stays so (A5)."""
    if draft.status.ended or any(step.phase is not Phase.SETTLED for step in draft.steps()):
        return
    if draft.backwards:
        tell_children(draft, Order.COMPENSATE)
        compensated(draft)
    else:
        draft.positions.pop(CONFIRMING, None)
        arrive(draft)


def closes(step: StepDraft) -> Op:
    """The op that a closing fence is to close."""
    return (step.closes or Op.DO) if step.op is Op.FENCE else step.op


def _close(draft: Draft, step: StepDraft, override: str) -> None:
    if isinstance(step.place.node, StepNode) and (step.did is not Did.UNSENT or step.op is not Op.DO):
        step.override = override
        step.forces = None
        ask(draft, step, Op.FENCE, closes=closes(step))
        return
    draft.overrides = (*draft.overrides, f"{override} ({step.path}: nothing to be found out)")
    draft.move(step, Phase.SETTLED)
