"""Stories: what happens to one saga, told as given and when, with every state checked on the way.

    story = tell(chain(...)).given(reserve=done()).when(charge=refused("card declined"))

    assert story.commands == [undo("reserve")]
    assert story.status == "compensating"

A keyword is a step, its value what the participant answers to the step's current command. Everything else that can
happen is an argument: `timer("charge")`, `deadline()`, `retry()`, `skip("charge")`, or any event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

from amends.coordinator.language import Saga as Declared
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import (
    AttemptClosed,
    Call,
    Effect,
    Ended,
    Publish,
    Report,
    Send,
    StepStuck,
    Tell,
)
from amends.coordinator.saga.events import Event, Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.nodes import Sketch, chain
from amends.coordinator.saga.state import Decision, Op, Parent, Saga, Step
from amends.coordinator.simulating.promises import check

NOON = 1_700_000_000_000
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


Told = TypeVar("Told", bound=Effect)


class Command(NamedTuple):
    """A command that was sent, as tests speak of it."""

    op: str
    path: str
    closes: str | None = None


def do(path: str) -> Command:
    return Command("do", path)


def undo(path: str) -> Command:
    return Command("undo", path)


def confirm(path: str) -> Command:
    return Command("confirm", path)


def fence(path: str, closes: str | None = None) -> Command:
    return Command("fence", path, closes)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a participant answers; to the step's current command unless it says otherwise."""

    outcome: Outcome
    result: Json = None
    reason: str = ""
    certain: bool = True
    spent: bool = True
    retry_after: int | None = None
    in_doubt: bool = False
    op: Op | None = None
    attempt: int | None = None
    round: int | None = None

    def to(self, op: Op) -> Answer:
        """The same, but to a command of this op that the step has left behind."""
        return replace(self, op=op)

    def of_attempt(self, attempt: int) -> Answer:
        return replace(self, attempt=attempt)

    def of_round(self, number: int) -> Answer:
        return replace(self, round=number)


def done(result: Json = None) -> Answer:
    return Answer(outcome=Outcome.DONE, result=result)


def refused(reason: str = "no", *, certain: bool = True) -> Answer:
    return Answer(outcome=Outcome.REFUSED, reason=reason, certain=certain)


def failed(reason: str = "busy", *, spent: bool = True, retry_after: int | None = None) -> Answer:
    return Answer(outcome=Outcome.FAILED, reason=reason, spent=spent, retry_after=retry_after)


def never(*, in_doubt: bool = False) -> Answer:
    return Answer(outcome=Outcome.NEVER, in_doubt=in_doubt)


def nothing() -> Answer:
    return Answer(outcome=Outcome.NOTHING)


def unknown() -> Answer:
    return Answer(outcome=Outcome.UNKNOWN)


def expired() -> Answer:
    return Answer(outcome=Outcome.EXPIRED)


Happening: TypeAlias = "Event | Callable[[Story], Event]"
Answers: TypeAlias = dict[str, Answer]  # by path: for steps in an `each`, which no keyword can name


def timer(path: str, *, spent: bool = True, excused: int = 0) -> Happening:
    """The step's timer fires when it is due, or after `excused` more that no policy counts."""

    def fires(story: Story) -> Event:
        step = story.step(path)
        assert step.due is not None, f"{path} has no timer: it is {step.phase}"
        story.now = max(story.now, step.due + excused)
        return events.TimerFired(
            path=path, attempt=step.attempt, spent=spent, excused=excused, held=story.held
        )

    return fires


def deadline() -> Happening:
    """The deadline passes."""

    def passes(story: Story) -> Event:
        assert story.saga.deadline is not None
        story.now = max(story.now, story.saga.deadline)
        return events.DeadlineReached(held=story.held)

    return passes


def admitted(path: str, *, excused: int = 0) -> Happening:
    """There is room for a parked command."""
    return lambda story: events.Admitted(path=path, excused=excused, held=story.held)


def unsendable(path: str) -> Happening:
    """The command just sent is too large."""
    return lambda story: events.Unsendable(
        path=path, attempt=story.step(path).attempt, reason="too large", held=story.held
    )


def internal_error(reason: str = "boom") -> Happening:
    return lambda story: events.InternalError(reason=reason, held=story.held)


def retry(path: str | None = None, *, deadline: int | None = None) -> Happening:
    """Ann retries; a `deadline` is in ms from now."""

    def act(story: Story) -> Event:
        moment = None if deadline is None else story.now + deadline
        return events.Retry(actor="ann", reason="because", path=path, deadline=moment, held=story.held)

    return act


def skip(path: str) -> Happening:
    return lambda story: events.Skip(actor="ann", reason="because", path=path, held=story.held)


def compensate() -> Happening:
    return lambda story: events.Compensate(actor="ann", reason="because", held=story.held)


class Story:
    """One saga and what happened to it."""

    def __init__(
        self,
        definition: Definition,
        saga_input: Json,
        held: frozenset[str],
        now: int = NOON,
        parent: Parent | None = None,
        decision: Decision = Decision.NONE,
    ) -> None:
        self.definition = definition
        self.now = now
        self.held = held
        self.born = begin(
            definition, id="saga-1", input=saga_input, labels={}, now=now, parent=parent, decision=decision
        )
        self.saga: Saga = self.born
        self.log: list[tuple[Event, int]] = []
        self.effects: list[Effect] = []
        self.changes = 0
        self.children: dict[str, str] = {}
        self.happens(events.Started(held=held))

    def given(self, *happenings: Happening | Answers, **answers: Answer) -> Story:
        """Things that happened before: what they asked for is of no interest."""
        self.when(*happenings, **answers)
        self.effects = []
        return self

    def when(self, *happenings: Happening | Answers, **answers: Answer) -> Story:
        """Things happen, in this order: `commands` and `effects` are what they asked for."""
        self.effects = []
        before = len(self.log)
        for happening in (answers, *happenings):
            if isinstance(happening, dict):
                for path, answer in happening.items():
                    self.happens(self.reply(path, answer))
            else:
                self.happens(happening if not callable(happening) else happening(self))
        self.changes = len(self.log) - before
        return self

    def after(self, length: int) -> Story:
        """Time passes, in ms, and nothing happens."""
        self.now += length
        return self

    def holding(self, *queues: str) -> Story:
        """From now on these command queues are closed."""
        self.held = frozenset(queues)
        return self

    def reply(self, path: str, answer: Answer) -> Event:
        step = self.step(path)
        op = answer.op or step.op
        return Replied(
            path=path,
            op=op,
            round=answer.round or step.round,
            attempt=answer.attempt or step.attempt,
            outcome=answer.outcome,
            result=answer.result,
            reason=answer.reason,
            certain=answer.certain,
            spent=answer.spent,
            retry_after=answer.retry_after,
            in_doubt=answer.in_doubt,
            closes=step.closes if op is step.op else None,
            held=self.held,
        )

    def happens(self, event: Event) -> None:
        after, effects = advance(self.definition, self.saga, event, self.now)
        if after is not self.saga:
            assert after.seq == self.saga.seq + 1
            self.log.append((event, after.clock))
            check(self.definition, after)
        else:
            assert self.saga.status.ended or all(isinstance(effect, Report) for effect in effects)
        self.saga = after
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Call | Tell):
                self.children[effect.parent.path] = effect.child

    def replayed(self) -> Saga:
        """The saga that its log gives (invariant 10)."""
        saga = self.born
        for event, at in self.log:
            saga, _ = advance(self.definition, saga, event, at)
        return saga

    def step(self, path: str) -> Step:
        return self.saga.steps[path]

    @property
    def status(self) -> str:
        return self.saga.status.value

    @property
    def sent(self) -> list[Send]:
        return [effect for effect in self.effects if isinstance(effect, Send)]

    @property
    def commands(self) -> list[Command]:
        return [
            Command(send.op.value, send.path, send.closes.value if send.closes else None)
            for send in self.sent
        ]

    def told(self, kind: type[Told]) -> list[Told]:
        """What else was wanted, of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def published(self) -> list[tuple[str, str]]:
        return [(effect.path, effect.type) for effect in self.told(Publish)]

    @property
    def orders(self) -> list[tuple[str, str]]:
        """What children were told, by the path of their call."""
        return [(tell.parent.path, tell.order.value) for tell in self.told(Tell)]

    @property
    def reports(self) -> list[str]:
        """What the parent was told."""
        return [report.outcome.value for report in self.told(Report)]

    @property
    def stuck(self) -> list[str]:
        """The steps that were told to be stuck just now."""
        return [effect.path for effect in self.effects if isinstance(effect, StepStuck)]

    @property
    def closed(self) -> list[tuple[str, str]]:
        return [(effect.path, effect.outcome) for effect in self.effects if isinstance(effect, AttemptClosed)]

    @property
    def ended(self) -> bool:
        return any(isinstance(effect, Ended) for effect in self.effects)

    def phase(self, path: str) -> str:
        return self.step(path).phase.value


def tell(
    *nodes: Sketch,
    input: Json = None,  # noqa: A002 - The word of the language.
    held: Iterable[str] = (),
    deadline: str = "24h",
    parent: Parent | None = None,
    decision: Decision = Decision.NONE,
    **more: Any,
) -> Story:
    """A story of a saga whose outermost chain is these nodes; it has just started. `more` is of the saga as a whole."""
    declared = Declared("story", chain(*nodes), version=1, deadline=deadline, **more)
    return Story(declared.definition, input, frozenset(held), parent=parent, decision=decision)
