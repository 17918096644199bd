"""Steps that need an operator, and when their saga does (C3)."""

from __future__ import annotations

from typing import Final

from amends.coordinator.saga.draft import Draft, StepDraft
from amends.coordinator.saga.durations import MINUTE
from amends.coordinator.saga.effects import StepStuck
from amends.coordinator.saga.state import Phase, Status

SOON: Final = MINUTE


def give_to_operator(draft: Draft, step: StepDraft, reason: str) -> None:
    """A step is stuck: it is told at once; its siblings go on."""
    if step.phase is Phase.STUCK:
        return  # It is known already, with its first reason.
    step.error = reason
    draft.move(step, Phase.STUCK)
    draft.effects.append(StepStuck(path=step.path, reason=reason))


def assess(draft: Draft) -> None:
    """Turn the status to stuck once nothing but stuck steps is due within a minute."""
    if draft.stuck and draft.status in (Status.RUNNING, Status.COMPENSATING) and not _something_is_due(draft):
        draft.status = Status.STUCK


def _something_is_due(draft: Draft) -> bool:
    for step in draft.steps():
        if step.phase is Phase.PARKED:
            return True  # It goes as soon as its queue is open.
        if step.due is not None and step.due <= draft.now + SOON:
            return True
    return False
