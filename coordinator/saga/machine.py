"""The machine: decides what a saga does next, and never does it. Pure: time is an argument, nothing else comes in.

`advance` is the only way a saga changes. Where to read on:

    forward.py     begins what comes next             giving_up.py   what follows when a step cannot succeed
    backward.py    compensates (C1, C2)               stuck.py       steps that need an operator (C3)
    sending.py     sends, parks, backs off            recording.py   what a stuck saga keeps for later (C3)
    replies.py     participants' answers (M1 to M3)   timers.py      timeouts, back-offs, the deadline (M4)
    acts.py        operators (A1 to A3)               draft.py       the saga while it changes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from amends.coordinator.saga import acts, recording, replies, timers
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Effect, StepStuck
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import (
    Admitted,
    Compensate,
    DeadlineReached,
    Event,
    InternalError,
    Replied,
    Retry,
    Skip,
    Started,
    TimerFired,
    Unsendable,
)
from amends.coordinator.saga.forward import enter
from amends.coordinator.saga.giving_up import give_up, refused
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op, Phase, Pivot, Saga, Status
from amends.coordinator.saga.stuck import assess, give_to_operator


def begin(
    definition: Definition,
    *,
    id: str,  # noqa: A002 - What it is called everywhere else.
    input: Json,  # noqa: A002 - What it is called everywhere else.
    labels: Mapping[str, str],
    now: int,
) -> Saga:
    """A saga before its first event, which is `Started`."""
    return Saga(
        id=id,
        name=definition.name,
        version=definition.version,
        status=Status.RUNNING,
        input=input,
        labels=labels,
        started=now,
        clock=now,
        deadline=now + definition.deadline,
        pivot=Pivot.NONE if definition.plan.pivot is None else Pivot.AHEAD,
    )


def advance(definition: Definition, saga: Saga, event: Event, now: int) -> tuple[Saga, tuple[Effect, ...]]:
    """The saga after an event, and what is to be done. The very same saga, and nothing, if it changed nothing.

    `now` is milliseconds since 1970 in database time; a clock that went back is overruled by the saga's last event.
    Raises: ActRefused for an operator's act that does not fit; nothing else, whatever the event.
    """
    if saga.status.ended:
        if isinstance(event, Retry | Skip | Compensate):
            raise ActRefused(f"the saga has ended: it is {saga.status}, and nothing changes it any more")
        return saga, ()
    draft = Draft(definition, saga, max(now, saga.clock), event.held)
    _apply(draft, event)
    assess(draft)
    after = draft.freeze()
    return (after, tuple(draft.effects)) if after is not saga else (saga, ())


def _apply(draft: Draft, event: Event) -> None:
    match event:
        case Replied():
            _replied(draft, event)
        case TimerFired() if draft.status is not Status.STUCK:
            timers.timer_fired(draft, event)
        case Admitted() if draft.status is not Status.STUCK:
            timers.admitted(draft, event)
        case DeadlineReached() if draft.status is not Status.STUCK:
            timers.deadline_reached(draft)
        case TimerFired() | Admitted() | DeadlineReached():
            pass  # A stuck saga waits: nothing is sent or given up until it moves again (C3).
        case Started():
            _started(draft)
        case Unsendable():
            _unsendable(draft, event)
        case InternalError():
            _internal_error(draft, event)
        case Retry():
            acts.retry(draft, event)
        case Skip():
            acts.skip(draft, event)
        case Compensate():
            acts.compensate(draft, event)
        case _:
            assert_never(event)


def _started(draft: Draft) -> None:
    if draft.plan.root.id not in draft.positions:
        enter(draft, draft.plan.root)


def _replied(draft: Draft, reply: Replied) -> None:
    step = draft.step(reply.path)
    if step is None or not replies.concerns(step, reply):
        return  # Late or repeated: the saga has moved on.
    if draft.status is Status.STUCK:
        recording.record(draft, step, reply)
    else:
        replies.take(draft, step, reply)


def _unsendable(draft: Draft, event: Unsendable) -> None:
    """The attempt that was just wanted never left, and none after it would (O5)."""
    step = draft.step(event.path)
    if step is None or step.attempt != event.attempt or step.phase is not Phase.AWAITING:
        return
    if step.op is not Op.DO:
        give_to_operator(draft, step, f"{step.op}: {event.reason}")
    elif step.attempt == 1:
        refused(draft, step, event.reason, certain=True)  # No participant has ever heard of it.
    else:
        give_up(draft, step, event.reason)


def _internal_error(draft: Draft, event: InternalError) -> None:
    """An event that could not be processed: an operator is to look (E2)."""
    reason = f"internal error: {event.reason}"
    if draft.status is Status.STUCK and draft.cause.endswith(reason):
        return
    draft.status = Status.STUCK
    draft.cause = f"{draft.cause}; {reason}" if draft.cause else reason
    draft.effects.append(StepStuck(path="", reason=reason))
