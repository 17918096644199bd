"""A saga while one event changes it: mutable, private to one call of `advance`, frozen again at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Effect, Ended, LetGo
from amends.coordinator.saga.errors import NotLoaded
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import (
    FORMAT,
    Decision,
    Fan,
    Kept,
    Parent,
    Phase,
    Pivot,
    Saga,
    Status,
    Step,
)
from amends.coordinator.saga.step_draft import StepDraft
from amends.coordinator.saga.walk import Place, Plan

# Keys in `Saga.positions`, beside the node ids.
STUCK_COUNT = "stuck"  # how many steps need an operator
CONFIRMING = "confirming"  # how many parts are still to be confirmed
THROUGH = "through"  # the way forward is behind


class Draft:
    """One saga, one event, one moment `now`."""

    __slots__ = (
        "_definition", "_saga", "_steps", "backwards", "cause", "deadline", "decision", "effects", "fans", "finishing",
        "held", "holders", "lists", "now", "overrides", "parent", "pivot", "plan", "positions", "resent", "result",
        "signals", "status", "wants_back",
    )  # fmt: skip

    def __init__(self, definition: Definition, saga: Saga, now: int, held: frozenset[str]) -> None:
        self._definition = definition
        self._saga = saga
        self._steps: dict[str, StepDraft] = {}
        self.plan: Plan = definition.plan
        self.now = now
        self.held = held
        self.effects: list[Effect] = []
        self.resent: set[str] = set()  # paths whose command this event has sent or parked
        self.positions = dict(saga.positions)
        self.fans: dict[str, Fan] = dict(saga.fans)
        self.signals: dict[str, tuple[Kept, ...]] = dict(saga.signals)
        self.status = saga.status
        self.backwards = saga.backwards
        self.deadline = saga.deadline
        self.pivot: Pivot = saga.pivot
        self.wants_back = saga.wants_back
        self.cause = saga.cause
        self.overrides = saga.overrides
        self.parent: Parent | None = saga.parent
        self.decision: Decision = saga.decision
        self.finishing = saga.finishing
        self.result: Json = saga.result
        self.holders = saga.holders
        self.lists: dict[str, list[Json]] = {}  # what `each` nodes go over, as far as this event looked at it

    @property
    def id(self) -> str:
        """The saga's id."""
        return self._saga.id

    @property
    def input(self) -> Json:
        """The saga's input."""
        return self._saga.input

    @property
    def definition(self) -> Definition:
        """What the saga is to do."""
        return self._definition

    @property
    def stuck(self) -> int:
        """How many steps are stuck."""
        return self.positions.get(STUCK_COUNT, 0)

    @property
    def through(self) -> bool:
        """Whether the way forward is behind."""
        return THROUGH in self.positions

    def fresh(self) -> Draft:
        """The same event's draft before it changed anything."""
        return Draft(self._definition, self._saga, self.now, self.held)

    def step(self, path: str) -> StepDraft | None:
        """The step of that path, to be changed; None if it was never begun. Raises: NotLoaded."""
        draft = self._steps.get(path)
        if draft is None:
            step = self._stored(path)
            if step is None:
                return None
            draft = self._steps[path] = StepDraft.of(step, self.plan.by_id[step.node])
        return draft

    def result_of(self, path: str) -> StepDraft | Step | None:
        """A step, only to be read. Raises: NotLoaded."""
        return self._steps.get(path) or self._stored(path)

    def _stored(self, path: str) -> Step | None:
        saga = self._saga
        step = saga.steps.get(path)
        if step is None and saga.partial and path not in saga.absent:
            raise NotLoaded(frozenset({path}))
        return step

    def require(self, paths: Iterable[str]) -> None:
        """Have these steps at hand, all at once. Raises: NotLoaded."""
        saga = self._saga
        if saga.partial:
            missing = frozenset(
                path
                for path in paths
                if path not in saga.steps and path not in saga.absent and path not in self._steps
            )
            if missing:
                raise NotLoaded(missing)

    def steps(self) -> Iterator[StepDraft]:
        """Every unsettled step, and others, in path order. For what concerns a stuck saga. Raises: NotLoaded."""
        if self._saga.partial and not self._saga.has_open:
            raise NotLoaded(frozenset(), open_too=True)
        for path in sorted(self._saga.steps.keys() | self._steps.keys()):
            step = self.step(path)
            assert step is not None
            yield step

    def begin_step(self, place: Place, scope: str) -> StepDraft:
        """A new instance of what stands in a place."""
        path = place.name + scope
        draft = self._steps[path] = StepDraft(path, place, self.now)
        return draft

    def move(self, step: StepDraft, phase: Phase, due: int | None = None) -> None:
        """Bring a step into a phase; the count of stuck steps follows."""
        if (step.phase is Phase.STUCK) is not (phase is Phase.STUCK):
            self.count(STUCK_COUNT, 1 if phase is Phase.STUCK else -1)
        step.phase = phase
        step.due = due

    def count(self, key: str, change: int) -> int:
        """Raise or lower a count in `positions`; nothing is kept of zero."""
        number = self.positions.get(key, 0) + change
        if number:
            self.positions[key] = number
        else:
            self.positions.pop(key, None)
        return number

    def note_holder(self, participant: str) -> None:
        """This participant holds locks for the saga, until it hears of its end (L1)."""
        if participant not in self.holders:
            self.holders = (*self.holders, participant)

    def end(self, status: Status) -> None:
        """The saga is over: who holds locks for it lets them go (L4)."""
        self.status = status
        self.effects.append(Ended(status=status))
        self.effects.extend(LetGo(participant=participant) for participant in self.holders)

    def freeze(self) -> Saga:
        """The saga as it is now: the one it was, if nothing changed."""
        was = self._saga
        changed: dict[str, Step] = {}
        for path, draft in self._steps.items():
            step = draft.freeze()
            if step != was.steps.get(path):
                changed[path] = step
        if not changed and all(getattr(self, name) == getattr(was, name) for name in _HEADER):
            return was
        return Saga(
            id=was.id,
            name=was.name,
            version=was.version,
            status=self.status,
            backwards=self.backwards,
            input=was.input,
            labels=was.labels,
            started=was.started,
            clock=self.now,
            deadline=self.deadline,
            seq=was.seq + 1,
            positions=self.positions,
            pivot=self.pivot,
            wants_back=self.wants_back,
            cause=self.cause,
            overrides=self.overrides,
            fans=self.fans,
            signals=self.signals,
            parent=self.parent,
            decision=self.decision,
            finishing=self.finishing,
            result=self.result,
            partial=was.partial,
            has_open=was.has_open,
            absent=was.absent - changed.keys() if was.partial else was.absent,
            steps={**was.steps, **changed} if changed else was.steps,
            trace=was.trace,
            told=was.told,
            holders=self.holders,
            format=max(was.format, FORMAT) if self.holders else was.format,
        )


# What an event may change of a saga's header.
_HEADER = (
    "status", "backwards", "deadline", "positions", "pivot", "wants_back", "cause", "overrides", "fans", "signals",
    "parent", "decision", "finishing", "result", "holders",
)  # fmt: skip
