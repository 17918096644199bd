"""Operators move what is due: an attempt's timeout, a back-off, a sleep, how long a signal is waited for, the deadline.

Nothing may wait for ever, so nothing is really cancelled: what can end otherwise is put off as far as it goes.
"""

from __future__ import annotations

from typing import Final

from amends.coordinator.saga.acts import set_deadline, unknown_step
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.durations import DAY
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import CancelTimer, MoveTimer
from amends.coordinator.saga.leaves import WaitNode
from amends.coordinator.saga.state import Phase, Status
from amends.coordinator.saga.step_draft import StepDraft

LONGEST: Final = 366 * DAY


def move_timer(draft: Draft, act: MoveTimer) -> None:
    """It is due then; what is past is due now."""
    if act.due > draft.now + LONGEST:
        raise ActRefused("more than 366 days ahead; give a time before that")
    if act.path is None:
        set_deadline(draft, act.due, draft.status is Status.STUCK)
    else:
        _move(draft, _due_step(draft, act.path), max(act.due, draft.now))


def cancel_timer(draft: Draft, act: CancelTimer) -> None:
    """It comes as late as it may. Refused where only this timer makes sure that the step goes on (M4)."""
    if act.path is None:
        set_deadline(draft, draft.now + LONGEST, draft.status is Status.STUCK)
        return
    step = _due_step(draft, act.path)
    if not isinstance(step.place.node, WaitNode):
        raise ActRefused(
            f"{step.name} is {step.phase}: without its timer it would wait for ever where an answer was lost; "
            f"move the timer instead, or compensate"
        )
    _move(draft, step, draft.now + LONGEST)


def _due_step(draft: Draft, path: str) -> StepDraft:
    step = draft.step(path)
    if step is None:
        raise unknown_step(draft, path)
    if draft.status is Status.STUCK:
        raise ActRefused("the saga is stuck: none of its timers runs until it moves again; retry, or skip")
    if step.due is None:
        why = "it waits for room, not for a time" if step.phase is Phase.PARKED else "nothing of it is due"
        raise ActRefused(f"{step.name} is {step.phase}: {why}")
    return step


def _move(draft: Draft, step: StepDraft, due: int) -> None:
    if step.due is not None and due > step.due:
        step.since += due - step.due  # What an operator puts off, no policy counts.
    draft.move(step, step.phase, due)
