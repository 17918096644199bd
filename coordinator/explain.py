"""Why a saga does not move, and what would move it, in words."""

from __future__ import annotations

from datetime import UTC, datetime

from amends.coordinator.records import Detail, StepRow
from amends.coordinator.saga.state import Phase, Status

_ENDED = frozenset(status.value for status in Status if status.ended)


def waits_for(step: StepRow) -> str | None:
    """What this step waits for; None once it is settled."""
    match Phase(step.phase):
        case Phase.PARKED:
            return f"{_op(step)} is not sent yet: {_closed(step) or f'the window of {step.queue} is full'}"
        case Phase.AWAITING:
            text = f"the answer to {_op(step)}, attempt {step.attempt}, until {_clock(step.due_ms)}"
            closed = _closed(step)
            return f"{text}; {closed}" if closed else text
        case Phase.BACKOFF:
            why = f" after: {step.error}" if step.error else ""
            return f"{_op(step)} is tried again at {_clock(step.due_ms)}{why}"
        case Phase.STUCK:
            return f"an operator: {step.error}"
        case Phase.SETTLED:
            return None


def saga_waits_for(detail: Detail) -> str | None:
    """What the whole saga waits for, with the mend where it is stuck; None once it has ended."""
    header = detail.header
    if header.status in _ENDED:
        return None
    if header.status == Status.STUCK:
        places = "; ".join(
            f"{one['path'] or 'the saga'}: {one['reason']}" for one in header.stuck_steps or ()
        )
        return (
            f"an operator, because of {places}. Mend the cause, then `amends sagas retry {header.id} --reason ...`; "
            f"or `amends sagas skip` a step, or `amends sagas compensate`"
        )
    open_steps = [f"{step.path}: {text}" for step in detail.steps if (text := waits_for(step)) is not None]
    return "; ".join(open_steps) or "its next event"


def _op(step: StepRow) -> str:
    return f"{step.op} of {step.path}" if step.op != "do" else step.path


def _closed(step: StepRow) -> str | None:
    if step.breaker_opened_at is None:
        return None
    since = step.breaker_opened_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"nobody has answered on {step.queue} since {since} (its breaker is open; probed until somebody does)"
    )


def _clock(ms: int | None) -> str:
    if ms is None:
        return "no time"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
