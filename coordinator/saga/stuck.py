"""Steps that need an operator, and when their saga does (C3)."""

from __future__ import annotations

from typing import Final

from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.durations import MINUTE
from amends.coordinator.saga.effects import Publish, Report, ReportOutcome, StepStuck
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op, Phase, Status
from amends.coordinator.saga.step_draft import StepDraft

SOON: Final = MINUTE
_SHOWN_MAX: Final = 3


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
        turn_stuck(draft)


def turn_stuck(draft: Draft) -> None:
    """The saga needs an operator: its parent hears of it (K4), and whoever the definition wants told."""
    draft.status = Status.STUCK
    reason = stuck_reason(draft)
    if draft.parent is not None:
        draft.effects.append(Report(parent=draft.parent, outcome=ReportOutcome.STUCK, reason=reason))
    if draft.definition.on_stuck is not None:
        told: dict[str, Json] = {"saga": draft.id, "name": draft.definition.name, "reason": reason}
        draft.effects.append(Publish(path="", op=Op.DO, type=draft.definition.on_stuck, data=told))


def stuck_reason(draft: Draft) -> str:
    """Which steps are stuck, and why."""
    steps = [f"{step.path}: {step.error}" for step in draft.steps() if step.phase is Phase.STUCK]
    return "; ".join(steps[:_SHOWN_MAX]) or draft.cause


def _something_is_due(draft: Draft) -> bool:
    for step in draft.steps():
        if step.phase is Phase.PARKED:
            return True  # It goes as soon as its queue is open.
        if step.due is not None and step.due <= draft.now + SOON:
            return True
    return False
