"""A saga's course as lines a person can read: when, what, which step, how long, what came of it.

The log says what happened to the saga; what it did about it (sends, ends) is not stored, but follows: the log is
replayed through the machine. Where the machine that wrote the log is not this one, or the definition is gone, the
lines tell only what the log itself says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import (
    AttemptClosed,
    Call,
    Effect,
    Ended,
    LetGo,
    Publish,
    Report,
    StepStuck,
    Tell,
)
from amends.coordinator.saga.effects import Send as Sent
from amends.coordinator.saga.events import (
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
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Op, Phase, Saga, Status, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. Times and durations are milliseconds; `duration` is since the command was sent.

    `attempt` rises over all ops of a step; `tries` is which try of its op it was, None if that is not known.
    `args` are what an edit gave, `old_args` those that were sent before, as far as that is known.
    `next_at` is when the next attempt was due after one in vain, or when a wait is over.
    """

    at: int
    what: str
    path: str | None = None
    op: str | None = None
    attempt: int | None = None
    tries: int | None = None
    args: Json = None
    old_args: Json = None
    duration: int | None = None
    outcome: str | None = None
    error: str | None = None
    actor: str | None = None
    next_at: int | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of the log, with what the machine made of it: empty and None if it was not replayed.

    An event that this release does not know is told by its name.
    """

    at: int
    event: Event | str
    effects: Sequence[Effect] = ()
    before: Saga | None = None
    after: Saga | None = None


def replay(definition: Definition, first: Saga, log: Iterable[tuple[int, Event]]) -> Iterator[Happened]:
    """Run a log of (time, event) through the machine from a saga that has just begun.

    To be consumed one by one: each holds all steps of a saga before and after its event.
    """
    saga = first
    for at, event in log:
        before = saga
        saga, effects = advance(definition, before, event, at)
        yield Happened(at, event, effects, before, saga)


def beginning(definition: Definition, saga: Saga) -> Saga:
    """The saga as it was before its first event."""
    return begin(
        definition,
        id=saga.id,
        input=saga.input,
        labels=saga.labels,
        now=saga.started,
        parent=saga.parent,
        decision=saga.decision,
    )


def entries(course: Iterable[Happened]) -> list[Entry]:
    """The lines of a course, oldest first; a command without an answer yet is a line `sent` of its own."""
    telling = _Telling()
    for happened in course:
        telling.tell(happened)
    return sorted([*telling.lines, *telling.unanswered.values()], key=lambda entry: entry.at)


def tries_of(course: Iterable[Happened]) -> dict[tuple[str, int], int]:
    """Which try of its op each attempt was, by path and attempt, as far as the course was replayed."""
    telling = _Telling()
    for happened in course:
        for effect in happened.effects:
            if isinstance(effect, Sent):
                telling.count(effect)
    return telling.tries


@dataclass(slots=True)
class _Telling:
    """The lines so far, and the commands that were sent and not answered, by path and attempt."""

    lines: list[Entry] = field(default_factory=list)
    unanswered: dict[tuple[str, int], Entry] = field(default_factory=dict)
    tries: dict[tuple[str, int], int] = field(default_factory=dict)
    sent: Counter[tuple[str, Op]] = field(default_factory=Counter)
    args: dict[str, Json] = field(default_factory=dict)  # of each step's last `do`

    def count(self, sent: Sent) -> int:
        """Which try of its op this is."""
        self.sent[sent.path, sent.op] += 1
        if sent.op is Op.DO:
            self.args[sent.path] = sent.args
        self.tries[sent.path, sent.attempt] = self.sent[sent.path, sent.op]
        return self.tries[sent.path, sent.attempt]

    def tell(self, happened: Happened) -> None:
        told = len(self.lines)
        self.lines.extend(self._event(happened.at, happened.event))
        for effect in happened.effects:
            self.lines.extend(self._effect(happened, effect))
        before, after = happened.before, happened.after
        if before is None or after is None:
            return
        for path, step in after.steps.items():
            was = before.steps.get(path)
            if step is not was:
                self._moved(happened, was, step, told)
        self.lines += [
            Entry(at=happened.at, what="override", error=override)
            for override in after.overrides[len(before.overrides) :]
        ]
        self._status(happened.at, before, after)

    def _effect(self, happened: Happened, effect: Effect) -> Iterator[Entry]:
        at = happened.at
        match effect:
            case Sent(path=path, op=op, attempt=attempt):
                self.unanswered[path, attempt] = Entry(
                    at=at, what="sent", path=path, op=op.value, attempt=attempt, tries=self.count(effect)
                )
            case AttemptClosed(path=path, op=op, outcome="timeout") if isinstance(happened.event, TimerFired):
                yield self._answer(at, path, op.value, happened.event.attempt, "timeout", None)
            case StepStuck(path=path, reason=reason):
                yield Entry(at=at, what="stuck", path=path, error=reason)
            case Publish():
                yield Entry(at=at, what="event", path=effect.path, op=effect.op.value, outcome=effect.type)
            case Call():
                yield Entry(at=at, what="call", path=effect.parent.path, outcome=f"saga {effect.child}")
            case Tell():
                yield Entry(at=at, what="told its child", path=effect.parent.path, outcome=effect.order.value)
            case Report():
                why = effect.reason or None
                yield Entry(at=at, what="told its parent", outcome=effect.outcome.value, error=why)
            case AttemptClosed() | Ended() | LetGo():
                return  # The answer is a line of its own, and an end shows as the change of status.
            case _:
                assert_never(effect)

    def _moved(self, happened: Happened, was: Step | None, step: Step, told: int) -> None:
        """What a step began to wait for, and when that comes."""
        phase = was.phase if was is not None else None
        if step.phase is Phase.PARKED and phase is not Phase.PARKED:
            why = "no room in its window, or its breaker is open"
            line = Entry(at=happened.at, what="held back", path=step.path, op=step.op.value, error=why)
            self.lines.append(line)
        elif step.phase is Phase.BACKOFF and phase is Phase.AWAITING:
            for index in range(told, len(self.lines)):
                if (self.lines[index].what, self.lines[index].path) == ("step", step.path):
                    self.lines[index] = replace(self.lines[index], next_at=step.due)
        elif step.phase is Phase.WAITING and phase is not Phase.WAITING:
            self.lines.append(Entry(at=happened.at, what="waits", path=step.path, next_at=step.due))
        elif phase is Phase.WAITING and isinstance(happened.event, TimerFired):
            self.lines.append(Entry(at=happened.at, what="time is up", path=step.path))

    def _status(self, at: int, before: Saga, after: Saga) -> None:
        if after.status is before.status:
            return
        turned_back = before.status is Status.RUNNING and after.status is Status.COMPENSATING
        self.lines.append(
            Entry(
                at=at,
                what="saga",
                outcome=after.status.value,
                error=after.cause if turned_back and after.cause else None,
                duration=at - after.started if after.status.ended else None,
            )
        )

    def _answer(self, at: int, path: str, op: str, attempt: int, outcome: str, error: str | None) -> Entry:
        sent = self.unanswered.pop((path, attempt), None)
        return Entry(
            at=at,
            what="step",
            path=path,
            op=op,
            attempt=attempt,
            tries=self.tries.get((path, attempt)),
            duration=at - sent.at if sent is not None else None,
            outcome=outcome,
            error=error,
        )

    def _event(self, at: int, event: Event | str) -> Iterator[Entry]:
        match event:
            case str():
                yield Entry(at=at, what=event)
            case Started():
                yield Entry(at=at, what="saga", outcome="started")
            case Replied():
                error = event.reason or None
                if event.outcome.value == "refused" and not event.certain:
                    error = f"{event.reason} (in doubt: an earlier external call may have happened)"
                yield self._answer(at, event.path, event.op.value, event.attempt, event.outcome.value, error)
            case DeadlineReached():
                yield Entry(at=at, what="deadline", outcome="reached")
            case Unsendable():
                self.unanswered.pop((event.path, event.attempt), None)  # It never left.
                path, attempt = (event.path, event.attempt) if event.path else ("its result", None)
                yield Entry(at=at, what="unsendable", path=path, attempt=attempt, error=event.reason)
            case InternalError():
                yield Entry(at=at, what="internal error", error=event.reason)
            case Signalled():
                yield Entry(at=at, what="signal", path=event.name)
            case Called():
                yield Entry(at=at, what="called again", outcome=f"round {event.round}")
            case Told():
                yield Entry(at=at, what="its parent decides", outcome=event.order.value)
            case Reported():
                reason = event.reason or None
                yield Entry(at=at, what="child", path=event.path, outcome=event.outcome.value, error=reason)
            case Retry() | Edit() | Skip() | Force():
                what = type(event).__name__.lower()
                line = Entry(at=at, what=what, path=event.path, error=event.reason, actor=event.actor)
                if isinstance(event, Edit):
                    line = replace(line, args=event.args, old_args=self.args.get(event.path))
                yield line
            case MoveTimer() | CancelTimer():
                what = "timer moved" if isinstance(event, MoveTimer) else "timer cancelled"
                yield Entry(
                    at=at,
                    what=what,
                    path=event.path or "the deadline",
                    error=event.reason,
                    actor=event.actor,
                    next_at=event.due if isinstance(event, MoveTimer) else None,
                )
            case Compensate() | Finish():
                yield Entry(at=at, what=type(event).__name__.lower(), error=event.reason, actor=event.actor)
            case TimerFired() | Admitted():
                return  # What followed tells more: a timeout, a send.
            case _:
                assert_never(event)
