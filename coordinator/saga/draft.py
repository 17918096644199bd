"""A saga while one event changes it: mutable, private to one call of `advance`, frozen again at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import Effect
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Did, Op, Phase, Pivot, Saga, Step
from amends.coordinator.saga.walk import Place, Plan

STUCK_COUNT = "stuck"  # Its key in `Saga.positions`, beside the node ids: how many steps need an operator.


class StepDraft:
    """One step while an event changes it; its fields are those of `Step`. Change `phase` by `Draft.move` alone."""

    __slots__ = (
        "attempt", "closes", "did", "due", "error", "op", "override", "path", "phase", "place", "recorded", "result",
        "round", "since", "spent",
    )  # fmt: skip

    def __init__(self, path: str, place: Place, now: int) -> None:
        self.path = path
        self.place = place
        self.phase = Phase.PARKED
        self.op = Op.DO
        self.closes: Op | None = None
        self.round = 1
        self.attempt = 0
        self.spent = 0
        self.since = now
        self.due: int | None = None
        self.did = Did.UNSENT
        self.result: Json = None
        self.error = ""
        self.recorded: Mapping[str, Json] | None = None
        self.override: str | None = None

    @classmethod
    def of(cls, step: Step, place: Place) -> StepDraft:
        """A copy of a step, to be changed."""
        draft = cls.__new__(cls)
        draft.path = step.path
        draft.place = place
        draft.phase = step.phase
        draft.op = step.op
        draft.closes = step.closes
        draft.round = step.round
        draft.attempt = step.attempt
        draft.spent = step.spent
        draft.since = step.since
        draft.due = step.due
        draft.did = step.did
        draft.result = step.result
        draft.error = step.error
        draft.recorded = step.recorded
        draft.override = step.override
        return draft

    def freeze(self) -> Step:
        """The step as it is now."""
        return Step(
            path=self.path,
            node=self.place.id,
            participant=self.place.step.to,
            phase=self.phase,
            op=self.op,
            closes=self.closes,
            round=self.round,
            attempt=self.attempt,
            spent=self.spent,
            since=self.since,
            due=self.due,
            did=self.did,
            result=self.result,
            error=self.error,
            recorded=self.recorded,
            override=self.override,
        )

    @property
    def name(self) -> str:
        """How it is called in texts for people."""
        return f"step {self.path!r}"


class Draft:
    """One saga, one event, one moment `now`."""

    __slots__ = (
        "_definition", "_saga", "_steps", "backwards", "cause", "deadline", "effects", "held", "now", "overrides",
        "pivot", "plan", "positions", "resent", "status", "wants_back",
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
        self.status = saga.status
        self.backwards = saga.backwards
        self.deadline = saga.deadline
        self.pivot: Pivot = saga.pivot
        self.wants_back = saga.wants_back
        self.cause = saga.cause
        self.overrides = saga.overrides

    @property
    def id(self) -> str:
        """The saga's id."""
        return self._saga.id

    @property
    def input(self) -> Json:
        """The saga's input."""
        return self._saga.input

    @property
    def stuck(self) -> int:
        """How many steps are stuck."""
        return self.positions.get(STUCK_COUNT, 0)

    def fresh(self) -> Draft:
        """The same event's draft before it changed anything."""
        return Draft(self._definition, self._saga, self.now, self.held)

    def step(self, path: str) -> StepDraft | None:
        """The step of that path, to be changed; None if it was never begun."""
        draft = self._steps.get(path)
        if draft is None:
            step = self._saga.steps.get(path)
            if step is None:
                return None
            draft = self._steps[path] = StepDraft.of(step, self.plan.by_id[step.node])
        return draft

    def steps(self) -> Iterator[StepDraft]:
        """Every step that is loaded, in path order. Only for what concerns a stuck saga as a whole."""
        for path in sorted(self._saga.steps.keys() | self._steps.keys()):
            step = self.step(path)
            assert step is not None
            yield step

    def begin_step(self, place: Place) -> StepDraft:
        """A new instance of a step."""
        path = place.step.name
        draft = self._steps[path] = StepDraft(path, place, self.now)
        return draft

    def result_of(self, path: str) -> StepDraft | Step | None:
        """A step, only to be read."""
        return self._steps.get(path) or self._saga.steps.get(path)

    def move(self, step: StepDraft, phase: Phase, due: int | None = None) -> None:
        """Bring a step into a phase; the count of stuck steps follows."""
        if (step.phase is Phase.STUCK) is not (phase is Phase.STUCK):
            count = self.stuck + (1 if phase is Phase.STUCK else -1)
            if count:
                self.positions[STUCK_COUNT] = count
            else:
                del self.positions[STUCK_COUNT]
        step.phase = phase
        step.due = due

    def freeze(self) -> Saga:
        """The saga as it is now: the one it was, if nothing changed."""
        was = self._saga
        changed: dict[str, Step] = {}
        for path, draft in self._steps.items():
            step = draft.freeze()
            if step != was.steps.get(path):
                changed[path] = step
        same_header = (
            self.status is was.status
            and self.positions == was.positions
            and self.pivot is was.pivot
            and self.backwards is was.backwards
            and self.deadline == was.deadline
            and self.wants_back == was.wants_back
            and self.cause == was.cause
            and self.overrides == was.overrides
        )
        if same_header and not changed:
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
            steps={**was.steps, **changed} if changed else was.steps,
            trace=was.trace,
            format=was.format,
        )
