"""What time brings: attempts that time out, back-offs that end, the deadline; and room for what was parked."""

from __future__ import annotations

from typing import assert_never

from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.events import Admitted, TimerFired
from amends.coordinator.saga.forward import again
from amends.coordinator.saga.giving_up import fence_pivot, give_up
from amends.coordinator.saga.sending import close_attempt, in_vain
from amends.coordinator.saga.signals import time_is_up
from amends.coordinator.saga.state import Phase, Pivot, queue_of


def timer_fired(draft: Draft, event: TimerFired) -> None:
    """An attempt stayed silent, or its back-off is over. Silence is unknown, never failure (M4)."""
    step = draft.step(event.path)
    if step is None or step.attempt != event.attempt:
        return  # Of an attempt that is over.
    if step.phase is Phase.BACKOFF:
        step.since += event.excused
        again(draft, step)
    elif step.phase is Phase.WAITING:
        time_is_up(draft, step)
    elif step.phase is Phase.AWAITING:
        step.since += event.excused
        close_attempt(draft, step, "timeout")
        node = step.place.step
        silence = f"no answer within {written(node.timeout if step.op == 'do' else node.undo_timeout)}"
        if not in_vain(draft, step, silence, spent=event.spent, retry_after=None):
            give_up(draft, step, f"given up after {step.attempt} attempts: {silence}")


def admitted(draft: Draft, event: Admitted) -> None:
    """A parked command may go (E4), or is its queue's probe (M6)."""
    step = draft.step(event.path)
    if step is None or step.phase is not Phase.PARKED:
        return
    step.since += event.excused
    draft.held -= {queue_of(step.participant, step.op)}
    again(draft, step)


def deadline_reached(draft: Draft) -> None:
    """Turn back; with the pivot sent, ask for its outcome first (P1); past it, or held, it means nothing (P2, K2)."""
    if draft.deadline is None or draft.now < draft.deadline:
        return
    if draft.backwards or draft.through or draft.finishing:
        return
    match draft.pivot:
        case Pivot.NONE | Pivot.AHEAD:
            turn_back(draft, "the deadline has passed")
        case Pivot.SENT if draft.wants_back == "":
            fence_pivot(draft, "the deadline has passed")
        case Pivot.SENT | Pivot.PASSED:
            pass
        case _:
            assert_never(draft.pivot)
