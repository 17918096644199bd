"""What operators do: retry, skip, compensate (A1 to A3). An act that does not fit is refused and changes nothing."""

from __future__ import annotations

from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.draft import Draft, StepDraft
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import Compensate, Retry, Skip
from amends.coordinator.saga.forward import again
from amends.coordinator.saga.giving_up import fence_pivot
from amends.coordinator.saga.recording import leave, make_due
from amends.coordinator.saga.sending import ask, renew
from amends.coordinator.saga.state import Op, Phase, Pivot, Status


def retry(draft: Draft, act: Retry) -> None:
    """Stuck steps are asked again in a new round; everything else that is outstanding is due now (A3)."""
    chosen = _chosen(draft, act)
    was_stuck = draft.status is Status.STUCK
    _set_deadline(draft, act, was_stuck)
    if was_stuck:
        leave(draft)
    for step in chosen:
        if step.phase is Phase.STUCK:
            step.round += 1
            renew(draft, step)
            again(draft, step)
        elif step.phase is Phase.BACKOFF and step.path not in draft.resent:
            again(draft, step)
    if was_stuck:
        make_due(draft)
    elif not draft.resent and act.deadline is None:
        raise ActRefused(f"nothing waits to be retried: {_awaited(draft)}")


def skip(draft: Draft, act: Skip) -> None:
    """Do without a stuck step, once a closing fence told what became of it (A1)."""
    step = draft.step(act.path)
    if step is None:
        raise ActRefused(_no_step(draft, act.path))
    if step.phase is not Phase.STUCK:
        raise ActRefused(
            f"{step.name} is {step.phase}, not stuck; only a stuck step can be skipped: {_stuck(draft)}"
        )
    if draft.status is not Status.STUCK:
        raise ActRefused(
            f"the saga is {draft.status}: other steps are still under way; skip once it is stuck, or retry now"
        )
    leave(draft)
    if step.phase is Phase.STUCK:
        step.override = f"skip {step.path} by {act.actor}: {act.reason}"
        ask(draft, step, Op.FENCE, closes=_outstanding(step))
    make_due(draft)


def compensate(draft: Draft, act: Compensate) -> None:
    """Turn back now; with the pivot sent, once its outcome is known (A3, P1)."""
    if draft.backwards:
        raise ActRefused(f"the saga compensates already; retry or skip what is stuck: {_stuck(draft)}")
    was_stuck = draft.status is Status.STUCK
    if was_stuck:
        leave(draft)
    if not draft.backwards and not draft.status.ended:
        _turn_back(draft, f"compensated by {act.actor}: {act.reason}")
    if was_stuck:
        make_due(draft)


def _turn_back(draft: Draft, reason: str) -> None:
    if draft.pivot is Pivot.PASSED:
        raise ActRefused(
            "the saga has passed its point of no return: nothing is compensated after it; retry or skip"
        )
    if draft.pivot is not Pivot.SENT:
        turn_back(draft, reason)
        return
    pivot = draft.plan.pivot
    step = draft.step(pivot.step.name) if pivot is not None else None
    if step is not None and step.op is Op.FENCE and step.closes is None and step.phase is not Phase.STUCK:
        raise ActRefused(
            f"{step.name}, the pivot, is being asked already whether it happened: {draft.wants_back}"
        )
    fence_pivot(draft, reason)


def _chosen(draft: Draft, act: Retry) -> list[StepDraft]:
    if act.path is None:
        return list(draft.steps())
    step = draft.step(act.path)
    if step is None:
        raise ActRefused(_no_step(draft, act.path))
    if step.phase is Phase.SETTLED:
        raise ActRefused(f"{step.name} is settled ({step.op}, {step.did}); {_awaited(draft)}")
    return [step]


def _set_deadline(draft: Draft, act: Retry, was_stuck: bool) -> None:
    before_pivot = not draft.backwards and draft.pivot in (Pivot.NONE, Pivot.AHEAD)
    if act.deadline is None:
        if was_stuck and before_pivot and draft.deadline is not None and draft.deadline <= draft.now:
            raise ActRefused(
                "its deadline has passed, so it would turn back at once; retry with a new deadline, or compensate"
            )
        return
    if draft.backwards or draft.pivot is Pivot.PASSED:
        raise ActRefused(
            "no deadline applies any more: the saga compensates or is past its pivot; retry without one"
        )
    if act.deadline <= draft.now:
        raise ActRefused("the new deadline has passed already; give one that is still to come")
    draft.deadline = act.deadline
    pivot = draft.plan.pivot
    step = draft.step(pivot.step.name) if pivot is not None else None
    if step is not None and step.op is Op.DO:
        draft.wants_back = ""  # The pivot's fence could not tell; with more time it is simply tried on.


def _outstanding(step: StepDraft) -> Op:
    """The op that a closing fence is to close."""
    return (step.closes or Op.DO) if step.op is Op.FENCE else step.op


def _no_step(draft: Draft, path: str) -> str:
    return (
        f"no step {path!r} has begun; begun are: {', '.join(step.path for step in draft.steps()) or 'none'}"
    )


def _stuck(draft: Draft) -> str:
    stuck = [step.path for step in draft.steps() if step.phase is Phase.STUCK]
    return f"stuck are {', '.join(stuck)}" if stuck else "no step is stuck"


def _awaited(draft: Draft) -> str:
    waiting = [
        f"{step.path} ({step.op})" for step in draft.steps() if step.phase in (Phase.AWAITING, Phase.PARKED)
    ]
    return f"under way are {', '.join(waiting)}" if waiting else _stuck(draft)
