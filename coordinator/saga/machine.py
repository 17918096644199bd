"""The machine: decides what a saga does next, and never does it. Pure: time is an argument, nothing else comes in.

`advance` is the only way a saga changes. Where to read on:

    forward.py     begins what comes next             doing.py       what a leaf does when its turn has come
    backward.py    compensates (C1, C2)               fans.py        `each`, at a flat cost per item
    confirming.py  confirms, once decided (P2)        ending.py      completed, held, compensated
    sending.py     sends, parks, backs off            replies.py     participants' answers (M1 to M3)
    giving_up.py   what follows when a step fails     timers.py      timeouts, back-offs, the deadline (M4)
    stuck.py       steps that need an operator (C3)   recording.py   what a stuck saga keeps for later (C3)
    children.py    what children report (K2, K4)      obeying.py     a child obeys its parent (K1 to K3)
    settling.py    what children are told at an end (A4)
    signals.py     waits and sleeps (S1)              acts.py        operators (A1 to A5)
    finishing.py   finish as is (A4)                  moving.py      operators move what is due
    draft.py       the saga while it changes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from amends.coordinator.saga import acts, children, moving, obeying, recording, replies, signals, timers
from amends.coordinator.saga.backward import turn_back
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.draft import Draft
from amends.coordinator.saga.effects import Effect, Report, StepStuck
from amends.coordinator.saga.ending import is_held, last_report
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.events import (
    Act,
    Admitted,
    Called,
    CancelTimer,
    Compensate,
    DeadlineReached,
    Edit,
    Event,
    Finish,
    Force,
    InternalError,
    MoveTimer,
    Replied,
    Reported,
    Retry,
    Signalled,
    Skip,
    Started,
    TimerFired,
    Told,
    Unsendable,
)
from amends.coordinator.saga.forward import begin_all
from amends.coordinator.saga.giving_up import give_up, refused
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import CallNode, StepNode
from amends.coordinator.saga.state import Decision, Op, Parent, Phase, Pivot, Saga, Status
from amends.coordinator.saga.stuck import assess, give_to_operator, turn_stuck


def begin(
    definition: Definition,
    *,
    id: str,  # noqa: A002 - What it is called everywhere else.
    input: Json,  # noqa: A002 - What it is called everywhere else.
    labels: Mapping[str, str],
    now: int,
    parent: Parent | None = None,
    decision: Decision = Decision.NONE,
) -> Saga:
    """A saga before its first event, which is `Started`.

    A `parent` may have decided already: its order came before the start (K3).
    """
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
        parent=parent,
        decision=decision,
    )


def advance(definition: Definition, saga: Saga, event: Event, now: int) -> tuple[Saga, tuple[Effect, ...]]:
    """The saga after an event, and what is to be done. The very same saga if it changed nothing.

    `now` is milliseconds since 1970 in database time; a clock that went back is overruled by the saga's last event.
    A child that is asked again, also after its end, does not change, but tells its parent again what stands (K3).
    Raises: ActRefused for an operator's act that does not fit; NotLoaded if the saga says `partial` and more of it is
    needed; nothing else, whatever the event.
    """
    if saga.status.ended:
        return saga, last_words(saga, event)
    draft = Draft(definition, saga, max(now, saga.clock), event.held)
    _apply(draft, event)
    assess(draft)
    after = draft.freeze()
    if after is saga:
        # A parent that asks once more hears once more what stands; nothing else follows from what changed nothing (K3).
        return saga, tuple(effect for effect in draft.effects if isinstance(effect, Report))
    return after, tuple(draft.effects)


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
        case Edit():
            acts.edit(draft, event)
        case Force():
            acts.force(draft, event)
        case Compensate():
            acts.compensate(draft, event)
        case Finish():
            acts.finish_as_is(draft, event)
        case MoveTimer():
            moving.move_timer(draft, event)
        case CancelTimer():
            moving.cancel_timer(draft, event)
        case Signalled():
            signals.signalled(draft, event)
        case Called():
            obeying.called(draft, event)
        case Told():
            obeying.told(draft, event)
        case Reported():
            _reported(draft, event)
        case _:
            assert_never(event)


def last_words(saga: Saga, event: Event) -> tuple[Effect, ...]:
    """What a saga that has ended still says. Raises: ActRefused for an operator's act."""
    if isinstance(event, Act):
        raise ActRefused(f"the saga has ended: it is {saga.status}, and nothing changes it any more")
    if isinstance(event, Told | Called) and saga.parent is not None and event.round >= saga.parent.round:
        return (last_report(saga, replace(saga.parent, round=event.round)),)
    return ()


def _started(draft: Draft) -> None:
    if draft.plan.root.id in draft.positions:
        return
    if draft.decision is Decision.COMPENSATE:
        turn_back(draft, "its parent decided against it before it had begun")
    elif draft.plan.pivot is not None and draft.parent is not None and draft.parent.holds:
        turn_back(
            draft, "it has a pivot, and its parent may still turn back: it must not be called before one (K2)"
        )
    else:
        begin_all(draft)


def _reported(draft: Draft, event: Reported) -> None:
    step = draft.step(event.path)
    if step is None or not isinstance(step.place.node, CallNode) or not children.concerns(draft, step, event):
        return  # Late or repeated: the saga has moved on.
    if draft.status is Status.STUCK:
        recording.record(draft, step, event)
    else:
        children.take(draft, step, event)


def _replied(draft: Draft, reply: Replied) -> None:
    step = draft.step(reply.path)
    if step is not None and reply.holds and step.participant:
        draft.note_holder(step.participant)  # Whatever else of it is late, this is to be remembered (L1).
    if step is None or not isinstance(step.place.node, StepNode) or not replies.concerns(step, reply):
        return  # Late or repeated: the saga has moved on. Or about what no participant was asked.
    if draft.status is Status.STUCK:
        recording.record(draft, step, reply)
    else:
        replies.take(draft, step, reply)


def _unsendable(draft: Draft, event: Unsendable) -> None:
    """The attempt that was just wanted never left, and none after it would (O5)."""
    if event.path == "":
        # What it came to cannot be told. Its parent has not decided yet: that it did not happen can be (K2).
        if draft.through and is_held(draft) and not (draft.backwards or draft.finishing):
            turn_back(draft, event.reason)
        return
    step = draft.step(event.path)
    if step is None or step.attempt != event.attempt or step.phase not in (Phase.AWAITING, Phase.WAITING):
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
    draft.cause = f"{draft.cause}; {reason}" if draft.cause else reason
    draft.effects.append(StepStuck(path="", reason=reason))
    turn_stuck(draft)
