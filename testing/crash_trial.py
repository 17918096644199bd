"""All runs of one `crash_everywhere`, and what each is held to."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, NestedTransaction, select

from amends.db.tables.participant import outbox
from amends.outbox.wire import Op
from amends.participants.participant import Participant
from amends.testing.answers import Answer
from amends.testing.contents import Contents, Tables, difference
from amends.testing.crash_run import CrashRun, Wrong
from amends.testing.crash_services import HandlerWrong, OwnServices, Scripted
from amends.testing.errors import CrashFound, NotServed
from amends.testing.memory import Memory, kept
from amends.testing.mishaps import Plan, Turn, mishaps, scenarios
from amends.testing.story import Story


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run, for `check`: the saga's status, its story, and the databases of the participants."""

    status: str
    story: Story
    connections: Mapping[str, Connection]

    @property
    def connection(self) -> Connection:
        """The database, where there is one for all."""
        return next(iter(self.connections.values()))


@dataclass(frozen=True, slots=True)
class Survived:
    """That nothing was found: how many runs there were, and how many of them ended in which status."""

    runs: int
    completed: int
    compensated: int


Check: TypeAlias = "Callable[[Outcome], None] | None"
# By database, in the order of the participants: what its tables hold, and which messages wait in its outbox.
State: TypeAlias = list[tuple[Contents, Counter[str]]]


class Surroundings:
    """What a run finds, and what is put back after it: databases, memory, and what is outside."""

    def __init__(
        self,
        connections: Mapping[Participant, Connection],
        ignoring: Collection[str],
        outside: Sequence[object],
    ) -> None:
        self.connections = connections
        self.outside = outside
        self._databases = list({id(one): one for one in connections.values()}.values())
        self._tables = [Tables(connection, ignoring) for connection in self._databases]
        self.memory = Memory(_functions(connections), outside=outside)
        self._put_back = kept(outside)

    def state(self) -> State:
        """What stands in the databases."""
        return [
            (tables.read(connection), _messages(connection))
            for tables, connection in zip(self._tables, self._databases, strict=True)
        ]

    def put_back(self) -> None:
        """New processes, and outside nothing has happened yet."""
        self.memory.lose()
        self._put_back()

    def begin(self, stack: ExitStack) -> None:
        """A run; when the stack is left all that it did in the databases is taken back."""
        self.put_back()
        for connection in self._databases:
            stack.callback(_roll_back, connection.begin_nested())


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that shows something."""

    problem: str
    run: CrashRun


class Trial:
    """Runs of one saga."""

    def __init__(
        self,
        begin: Story,
        connections: Mapping[Participant, Connection],
        answers: Mapping[str, Answer],
        check: Check,
        restores: bool,
        surroundings: Surroundings,
    ) -> None:
        """Raises: NotServed for a command that a participant has not."""
        self._begin = begin
        self._answers = answers
        self._check = check
        self._restores = restores
        self._around = surroundings
        self._own = OwnServices(connections, surroundings.outside)
        self._connections = {participant.name: connection for participant, connection in connections.items()}
        self._before = surroundings.state()
        self._completed: State | None = None
        self._ended: Counter[str] = Counter()
        self._runs = 0
        _require_commands(begin, {participant.name: participant for participant in connections})

    def everything(self, runs_max: int | None) -> Survived:
        """All runs, those with the least going wrong first. Raises: CrashFound, by the shortest of its kind."""
        bases: list[tuple[Plan, Sequence[Turn]]] = []
        levels: tuple[Callable[[], Iterable[Plan]], ...] = (
            lambda: [Plan()],
            lambda: list(scenarios(bases[0][1])),
            lambda: [plan for base, turns in list(bases) for plan in mishaps(base, turns)],
        )
        for level in levels:
            failures: list[Failure] = []
            for plan in level():
                if runs_max is not None and self._runs >= runs_max:
                    break
                run, problem = self._run(plan)
                if problem:
                    failures.append(Failure(problem, run))
                elif run.applies:
                    bases.append((plan, run.turns))
            if failures:
                shortest = min(failures, key=lambda one: len(one.run.lines))
                raise CrashFound(self._begin.saga.name, shortest.problem, shortest.run.lines, self._runs)
        return Survived(self._runs, self._ended["completed"], self._ended["compensated"])

    def _run(self, plan: Plan) -> tuple[CrashRun, str]:
        """A run, and what it shows; empty if all is well."""
        others = Scripted(self._answers, self._begin.definition.plan.by_name)
        run = CrashRun(
            copy.copy(self._begin), plan, self._own, others, self._answers, self._around.memory.lose
        )
        with ExitStack() as stack:
            self._around.begin(stack)
            try:
                run.go()
                problem = self._judged(run) if run.applies else ""
            except (Wrong, HandlerWrong) as found:
                problem = str(found)
        if run.applies:
            self._runs += 1
            self._ended[run.status] += 1
        return run, problem or self._left_behind()

    def _judged(self, run: CrashRun) -> str:
        state = self._around.state()
        if run.status == "compensated" and self._restores:
            told = _difference(state, self._before, messages=False)
            if told:
                return f"compensated, but not as before: {told}"
        if run.status == "completed":
            if self._completed is None:
                self._completed = state
            told = _difference(state, self._completed, messages=True)
            if told:
                return f"completed, but not as when nothing goes wrong: {told}"
        if self._check is not None:
            try:
                self._check(Outcome(run.status, run.story, self._connections))
            except Exception as error:  # noqa: BLE001 - Whatever the author's check raises is what it found.
                said = str(error).partition("\n")[0]
                return f"{run.status}, and the check says {type(error).__name__}: {said}"
        return ""

    def _left_behind(self) -> str:
        told = _difference(self._around.state(), self._before, messages=True)
        return (
            f"a handler wrote outside of its transaction, which no rollback takes back: {told}"
            if told
            else ""
        )


def _roll_back(savepoint: NestedTransaction) -> None:
    if savepoint.is_active:
        savepoint.rollback()


def _difference(found: State, wanted: State, *, messages: bool) -> str:
    for (contents, sent), (contents_wanted, sent_wanted) in zip(found, wanted, strict=True):
        told = difference(contents, contents_wanted)
        if told:
            return told
        if messages and sent != sent_wanted:
            return f"the outbox holds {dict(sent)} instead of {dict(sent_wanted)}"
    return ""


def _messages(connection: Connection) -> Counter[str]:
    rows = connection.execute(select(outbox.c.exchange, outbox.c.routing_key, outbox.c.type))
    return Counter(f"{row.type} to {row.exchange or row.routing_key}" for row in rows)


def _functions(participants: Iterable[Participant]) -> Iterator[Callable[..., Any]]:
    for participant in participants:
        for op in (Op.DO, Op.UNDO, Op.CONFIRM):
            for name in participant.names(op):
                handler = participant.find(op, name)
                assert handler is not None, "it was listed"
                yield handler.function


def _require_commands(story: Story, participants: Mapping[str, Participant]) -> None:
    """A command that nobody has would be asked for until the deadline."""
    for place in story.definition.plan.by_name.values():
        step = getattr(place, "step", None)
        participant = participants.get(step.to) if step is not None else None
        if step is None or participant is None:
            continue
        for op, name in ((Op.DO, step.do), (Op.UNDO, step.undo), (Op.CONFIRM, step.confirm)):
            if name is not None and participant.find(op, name) is None:
                known = ", ".join(participant.names(op)) or "none"
                raise NotServed(f"step {step.name!r}: {step.to} has no {op} {name!r}; it has {known}")
