"""What the machine wants done: a closed union. Timers are not among them: they follow from `Step.due`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op, Parent, Status


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
class LetGo:
    """Tell a participant that the saga is over, until it says that it has heard: it holds locks for it (L4)."""

    participant: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Publish a domain event. Its id follows from saga, path and op: every copy has the same."""

    path: str
    op: Op
    type: str
    data: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Start a child saga, or tell a standing one its new round (K1)."""

    child: str
    saga: str
    version: int | None
    input: Json
    parent: Parent


class Order(StrEnum):
    """What a parent tells a child (K2, K3, K5)."""

    SETTLE = "settle"
    COMPENSATE = "compensate"
    FENCE = "fence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Tell a child what is decided; it answers with a report to `parent`."""

    child: str
    order: Order
    parent: Parent


class ReportOutcome(StrEnum):
    """What a child tells its parent (K2, K4, K5)."""

    DONE = "done"
    REFUSED = "refused"  # refused, rejected or compensated: nothing of it is left
    NEVER = "never"  # it had not begun, and never will
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Tell the parent what has become of this saga."""

    parent: Parent
    outcome: ReportOutcome
    result: Json = None
    reason: str = ""


Effect: TypeAlias = Send | Ended | LetGo | StepStuck | AttemptClosed | Publish | Call | Tell | Report
