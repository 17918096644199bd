"""What is stored, as the doors read it: rows of `coordinator.queries`, in the order of their columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from amends.coordinator.saga.json import Json


@dataclass(frozen=True, slots=True)
class Header:
    """One saga's row. Names ending in `_ms` are milliseconds since 1970. `held`: done, and its parent decides (K2)."""

    id: str
    name: str
    version: int
    status: str
    backwards: bool
    key: str | None
    labels: Mapping[str, str]
    input_hash: str
    started_ms: int
    clock_ms: int
    deadline_ms: int | None
    stuck_steps: Sequence[Mapping[str, str]] | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    format: int
    parent: str | None
    held: bool = False


@dataclass(frozen=True, slots=True)
class TimerRow:
    """What is due for a step. `leased_until_ms` is set while a coordinator has claimed it (E3)."""

    due_ms: int
    sent_ms: int
    held_since_ms: int | None
    leased_until_ms: int | None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A command that is still in the outbox. `parked_ms`: its own fault keeps it there (O4).

    `leased`: a relay has it in its hands at this moment.
    """

    id: int
    created_ms: int
    due_ms: int
    attempts: int
    error: str | None
    parked_ms: int | None
    returned_since_ms: int | None
    leased: bool


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """The open breaker of a command queue (M6). At `probe_ms` the next probe goes out."""

    opened_ms: int
    probe_ms: int | None


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """How many commands of a queue are out, and how many are parked (E4)."""

    out: int
    parked: int


@dataclass(frozen=True, slots=True)
class Child:
    """The saga that a step called last."""

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step instance, with what stands about it elsewhere: timer, unsent command, open breaker of its queue.

    `child` is the saga it called, once that has a row. `tries` is which try of its op `attempt` is, where somebody
    has counted: `attempt` itself rises over all ops.
    """

    path: str
    node: str
    queue: str
    phase: str
    op: str
    closes: str | None
    did: str
    round: int
    attempt: int
    since_ms: int
    due_ms: int | None
    error: str | None
    override: str | None
    result: str | None
    timer: TimerRow | None
    entry: OutboxEntry | None
    breaker: OpenBreaker | None
    child: Child | None = None
    tries: int | None = None


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many instances of one place stand alike. `attempt` is the highest of them."""

    node: str
    phase: str
    op: str
    closes: str | None
    did: str
    overridden: bool
    count: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Detail:
    """One saga in full, as it was at `now_ms`. `input` and the steps' results are JSON text.

    `parent` is set for a child, `decision` what that has told it (K). `through`: the way forward is behind it;
    `finishing`: an operator ends it as it is.
    """

    header: Header
    overrides: Sequence[str]
    input: str
    pivot: str
    parent: Mapping[str, Any] | None
    decision: str
    through: bool
    finishing: bool
    now_ms: int
    steps: Sequence[StepRow]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A saga that ended and was pruned."""

    at: datetime
    input_hash: str


@dataclass(frozen=True, slots=True)
class LogRow:
    """One event of a saga's log."""

    seq: int
    at_ms: int
    event: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class History:
    """All that is kept of a saga's course, oldest first."""

    detail: Detail
    log: Sequence[LogRow]


@dataclass(frozen=True, slots=True)
class DefinitionRow:
    """One registered version. `live` is how many of its sagas have not ended; the suspension is its name's."""

    name: str
    version: int
    hash: str
    active: bool
    registered_at: datetime
    registered_by: str
    live: int
    suspended_at: datetime | None
    suspended_by: str | None
    suspended_for: str | None


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One registered version with its stored form."""

    row: DefinitionRow
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFilter:
    """Which sagas to list; what is None or empty does not narrow. Both times are of the saga's start.

    A timedelta is so long ago: the database's clock is the one that the start was stamped by, not the door's.
    """

    statuses: Collection[str] = ()
    name: str | None = None
    key: str | None = None
    labels: Mapping[str, str] | None = None
    parent: str | None = None
    before: datetime | timedelta | None = None
    after: datetime | timedelta | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of sagas ended; the next one begins after it."""

    created_at: datetime
    id: str
