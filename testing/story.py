"""Stories: what happens to one saga, told as given and when, without any server.

    run = amends_saga(place_order, Order(...)).given(reserve=done({"parcel": 7})).when(charge=refused("card declined"))

    assert run.commands == [undo("reserve")]
    assert run.status == "compensating"

A keyword is a step, its value what is answered to the step's current command; for the items of an `each` it is a list.
Everything else that can happen is an argument: `after("15m")`, `signal("approved")`, `compensate()`. It is the machine
itself that decides, the one the coordinator runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from amends.coordinator.language import Saga
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.durations import written
from amends.coordinator.saga.effects import Call, Effect, Publish, Report, Send, StepStuck, Tell
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Decision, Parent, Phase, Step
from amends.coordinator.saga.state import Saga as State
from amends.testing.answers import SILENCE, Answer
from amends.testing.commands import Asked, asked
from amends.testing.errors import NotAwaited
from amends.testing.happenings import Happening, plain
from amends.testing.scripting import answered, answers_by_path

BEGIN_MS: Final = 1_893_499_200_000  # 2030-01-01 12:00 UTC
ID: Final = "5a6a0000-0000-4000-8000-000000000001"

Script = Mapping[str, "Answer | Sequence[Answer | None]"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the saga's log: what happened, when (ms since 1970), and the commands it led to."""

    line: str
    event: Event
    at: int
    commands: tuple[Asked, ...]

    def __str__(self) -> str:
        follows = f"  ->  {', '.join(map(repr, self.commands))}" if self.commands else ""
        return f"{self.line}{follows}"


class Story:
    """One saga and what happened to it. `given` and `when` give a new one: a story may be gone on with in several ways.

    `effects` is all that the last `when` led to, as the machine said it; `log` what has changed the saga, from its
    start on. `saga` is its whole state.
    """

    def __init__(self, saga: Saga | Definition, input: Any = None, *, child: bool = False) -> None:  # noqa: A002 - The word of the language.
        """With `child` another saga has called it, before that one's pivot. Raises: InvalidInput."""
        self.definition: Definition = saga.definition if isinstance(saga, Saga) else saga
        parent = Parent(saga="parent", path="call", round=1, holds=True) if child else None
        self.now = BEGIN_MS
        self.saga: State = begin(
            self.definition,
            id=ID,
            input=_checked(saga, input),
            labels={},
            now=self.now,
            parent=parent,
            decision=Decision.NONE,
        )
        self.effects: tuple[Effect, ...] = ()
        self.log: tuple[Entry, ...] = ()
        self.course: tuple[str, ...] = ()
        self._children: Mapping[str, str] = {}
        self._passed: frozenset[tuple[str, int, int]] = frozenset()
        self._happens(events.Started(parent=parent), "the saga starts")

    def given(self, *happenings: Happening | Script, **answers: Answer | Sequence[Answer | None]) -> Story:
        """What happened before: what it led to is of no interest."""
        story = self.when(*happenings, **answers)
        story.effects = ()
        return story

    def when(self, *happenings: Happening | Script, **answers: Answer | Sequence[Answer | None]) -> Story:
        """Answers come, in this order, then the happenings; `commands` and `effects` are what all that led to.

        Raises: UnknownStep, NotAwaited, WrongAnswer; ActRefused for an operator's act that does not fit.
        """
        story = copy.copy(self)
        story.effects = ()
        for happening in (answers, *happenings):
            if isinstance(happening, Mapping):
                for path, answer in answers_by_path(story.definition, happening):
                    story._answer(path, answer)
            elif callable(happening):
                happening(story)
            else:
                raise NotAwaited(
                    f"{happening!r} is nothing that happens: say step=done(...), after('15m'), ..."
                )
        return story

    @property
    def status(self) -> str:
        """running, compensating, completed, compensated or stuck."""
        return self.saga.status.value

    @property
    def result(self) -> Any:
        """What the saga came to."""
        return self.saga.result

    @property
    def commands(self) -> list[Asked]:
        """What the last `when` had sent to participants."""
        return [asked(effect) for effect in self.effects if isinstance(effect, Send)]

    @property
    def awaited(self) -> list[Asked]:
        """What is asked and not answered yet."""
        return [
            Asked(step.op.value, step.path, step.closes.value if step.closes else None)
            for _, step in sorted(self.saga.steps.items())
            if step.phase in (Phase.AWAITING, Phase.PARKED, Phase.BACKOFF)
        ]

    @property
    def stuck(self) -> dict[str, str]:
        """The steps that need an operator, and why."""
        return {step.path: step.error for step in self.saga.stuck_steps}

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The domain events that the last `when` published: type and data."""
        return [(effect.type, effect.data) for effect in self.effects if isinstance(effect, Publish)]

    @property
    def calls(self) -> dict[str, Any]:
        """The children that the last `when` called: by the call's path, their input."""
        return {effect.parent.path: effect.input for effect in self.effects if isinstance(effect, Call)}

    @property
    def orders(self) -> list[tuple[str, str]]:
        """What the last `when` told children: the call's path, and settle, compensate or fence."""
        return [
            (effect.parent.path, effect.order.value) for effect in self.effects if isinstance(effect, Tell)
        ]

    @property
    def reports(self) -> list[Answer]:
        """What the last `when` told the parent."""
        return [
            Answer(outcome=effect.outcome.value, result=effect.result, reason=effect.reason)
            for effect in self.effects
            if isinstance(effect, Report)
        ]

    @property
    def newly_stuck(self) -> list[str]:
        """The steps that the last `when` gave to an operator."""
        return [effect.path for effect in self.effects if isinstance(effect, StepStuck)]

    def args(self, path: str) -> Any:
        """What the last command to this step brought. Raises: NotAwaited if none was sent."""
        for entry in reversed(self.log):
            for command in entry.commands:
                if command.path == path:
                    return command.args
        raise NotAwaited(f"nothing was sent to {path!r}:\n{self}")

    def step(self, path: str) -> Step:
        """A step's state. Raises: NotAwaited if it has not begun."""
        if path not in self.saga.steps:
            raise NotAwaited(f"{path!r} has not begun:\n{self}")
        return self.saga.steps[path]

    def __str__(self) -> str:
        lines = [f"{number:>4}  {line}" for number, line in enumerate(map(str, self.log), 1)]
        return "\n".join([f"{self.saga.name} is {self.status}", *lines])

    def __repr__(self) -> str:
        return f"<Story of {self}>"

    def _answer(self, path: str, answer: Answer) -> None:
        if answer.outcome == SILENCE:
            self._silence(path)
            return
        for event in answered(self, path, answer):
            late = f" to an earlier {answer.to_op}" if answer.to_op else ""
            self._happens(event, f"{path} is answered{late}: {answer!r}")

    def _silence(self, path: str) -> None:
        step = self.saga.steps.get(path)
        if step is None or step.due is None or step.phase not in (Phase.AWAITING, Phase.WAITING):
            why = "has not begun" if step is None else f"is {step.phase.value}"
            wait = ""
            if step is not None and step.phase is Phase.BACKOFF and step.due is not None:
                wait = f"; its next attempt is due in {written(step.due - self.now)}: let that pass with after(...)"
            raise NotAwaited(f"{path!r} {why}, so that nothing is awaited of it{wait}\n{self}")
        self.now = max(self.now, step.due)
        self._fire(step)

    def _fire(self, step: Step) -> None:
        if step.phase is Phase.BACKOFF:
            line = f"{step.path} is due again"
        else:
            line = (
                f"{step.path} stays silent"
                if step.phase is Phase.AWAITING
                else f"the time of {step.path} is over"
            )
        self._happens(events.TimerFired(path=step.path, attempt=step.attempt), line)

    def _deadline(self) -> None:
        if self.saga.deadline is None:
            raise NotAwaited(f"the saga has no deadline any more:\n{self}")
        self.now = max(self.now, self.saga.deadline)
        self._passed |= {("", 0, self.saga.deadline)}
        self._happens(events.DeadlineReached(), "the deadline passes")

    def _pass(self, length: int) -> None:
        """Time passes, and whatever is due on the way comes, once."""
        until = self.now + length
        while (moment := self._next_due()) is not None and moment[0] <= until:
            due, step = moment
            self.now = max(self.now, due)
            if step is None:
                self._deadline()
            else:
                self._passed |= {(step.path, step.attempt, due)}
                self._fire(step)
        self.now = until

    def _next_due(self) -> tuple[int, Step | None] | None:
        if self.saga.status.ended:
            return None
        due: list[tuple[int, str, Step | None]] = [
            (step.due, path, step)
            for path, step in self.saga.steps.items()
            if step.due is not None and (path, step.attempt, step.due) not in self._passed
        ]
        deadline = self.saga.deadline
        if deadline is not None and ("", 0, deadline) not in self._passed:
            due.append((deadline, "~", None))
        if not due:
            return None
        moment, _, step = min(due, key=lambda one: one[:2])
        return moment, step

    def _happens(self, event: Event, line: str) -> None:
        after, effects = advance(self.definition, self.saga, event, self.now)
        self.course = (*self.course, line)
        sent = tuple(asked(effect) for effect in effects if isinstance(effect, Send))
        if after is not self.saga:
            self.log = (*self.log, Entry(line, event, after.clock, sent))
        self.saga = after
        self.effects = (*self.effects, *effects)
        called = {one.parent.path: one.child for one in effects if isinstance(one, Call | Tell)}
        self._children = {**self._children, **called}


def _checked(saga: Saga | Definition, value: Any) -> Any:
    """The input as the JSON it travels as. Raises: InvalidInput, saying where."""
    if isinstance(saga, Saga):
        import msgspec

        from amends.participants.starts import make_start

        return msgspec.json.decode(make_start(saga, value, None, None, takes_key=False).input)
    return plain(value)
