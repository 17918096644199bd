"""One step of a saga while an event changes it. See `draft.py`."""

from __future__ import annotations

from collections.abc import Mapping

from amends.coordinator.saga.json import Json
from amends.coordinator.saga.leaves import StepNode
from amends.coordinator.saga.state import Did, Op, Phase, Step
from amends.coordinator.saga.walk import Place, scope_of


class StepDraft:
    """One step while an event changes it; its fields are those of `Step`. Change `phase` by `Draft.move` alone."""

    __slots__ = (
        "attempt", "child", "closes", "did", "due", "edited", "error", "forces", "op", "override", "path", "phase",
        "place", "recorded", "result", "round", "since", "spent", "took",
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
        self.forces: Mapping[str, Json] | None = None
        self.edited: Mapping[str, Json] | None = None
        self.child = 0
        self.took = ""

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
        draft.forces = step.forces
        draft.edited = step.edited
        draft.child = step.child
        draft.took = step.took
        return draft

    def freeze(self) -> Step:
        """The step as it is now."""
        return Step(
            path=self.path,
            node=self.place.id,
            participant=self.participant,
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
            forces=self.forces,
            edited=self.edited,
            child=self.child,
            took=self.took,
        )

    @property
    def name(self) -> str:
        """How it is called in texts for people."""
        return f"step {self.path!r}"

    @property
    def participant(self) -> str:
        """Who is commanded; empty if nobody is."""
        return self.place.node.to if isinstance(self.place.node, StepNode) else ""

    @property
    def scope(self) -> str:
        """The numbers of the items that the `each` nodes around it are at."""
        return scope_of(self.path)
