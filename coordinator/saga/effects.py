"""What the machine wants done: a closed union. Timers are not among them: they follow from `Step.due`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send this command to `participant`. `timeout` is how long, in ms, its answer is awaited."""

    path: str
    participant: str
    op: Op
    command: str
    round: int
    attempt: int
    args: Json
    timeout: int
    closes: Op | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The saga reached a final status."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStuck:
    """A step needs an operator: log it, count it (C3, invariant 15)."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptClosed:
    """One attempt of a step ended, for the metrics: `done`, `refused`, `failed` or `timeout` after `duration` ms."""

    path: str
    participant: str
    op: Op
    outcome: str
    duration: int


Effect: TypeAlias = Send | Ended | StepStuck | AttemptClosed
