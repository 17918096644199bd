"""What is due when, over all sagas: a page of timers, for the doors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine

from amends.coordinator.queries import HELD, reading
from amends.coordinator.saga.state import Phase

# One page of timers, the first due first, without deadlines of sagas that are held: they do nothing (K2). Conditions
# are added by `_conditions`. In the order of `DueRow`.
PAGE = """
    SELECT timer.saga_id::text, saga.name, saga.labels, saga.status, timer.path, step.phase, step.op, timer.queue,
        timer.attempt, timer.due_at, timer.held_since,
        CASE WHEN timer.leased_until > now() THEN timer.leased_until END
    FROM amends.timer AS timer
    JOIN amends.saga AS saga ON saga.id = timer.saga_id
    LEFT JOIN amends.step AS step ON step.saga_id = timer.saga_id AND step.path = timer.path
    WHERE NOT (timer.path = '' AND {held}) AND {conditions}
    ORDER BY timer.due_at, timer.saga_id, timer.path LIMIT %(rows_max)s
"""

KINDS: Final = {Phase.AWAITING.value: "timeout", Phase.BACKOFF.value: "retry", Phase.WAITING.value: "wait"}


@dataclass(frozen=True, slots=True)
class DueRow:
    """One timer with its saga. `path` is empty for the saga's deadline; then there is no phase, op or queue."""

    saga_id: str
    name: str
    labels: Mapping[str, str]
    status: str
    path: str
    phase: str | None
    op: str | None
    queue: str | None
    attempt: int
    due_at: datetime
    held_since: datetime | None
    leased_until: datetime | None

    @property
    def kind(self) -> str:
        """What is due: deadline, timeout, retry or wait."""
        return KINDS.get(self.phase or "", "wait") if self.path else "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueFilter:
    """Which timers to list; what is None or empty does not narrow."""

    saga_id: str | None = None
    name: str | None = None
    participant: str | None = None
    labels: Mapping[str, str] | None = None
    kind: str | None = None
    within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class DuePosition:
    """Where a page ended; the next one begins after it."""

    due_at: datetime
    saga_id: str
    path: str


def page_of_timers(
    database: Engine, wanted: DueFilter, after: DuePosition | None, rows_max: int
) -> list[DueRow]:
    """Up to `rows_max` timers, the first due first. Raises: StoreUnavailable."""
    conditions, values = _conditions(wanted, after)
    with reading(database) as connection:
        sql = PAGE.format(held=HELD, conditions=" AND ".join(conditions) or "true")
        rows = connection.exec_driver_sql(sql, {**values, "rows_max": rows_max}).all()
        return [DueRow(*row) for row in rows]


def _conditions(wanted: DueFilter, after: DuePosition | None) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    values: dict[str, Any] = {}

    def narrow(condition: str, **named: object) -> None:
        conditions.append(condition)
        values.update(named)

    if wanted.saga_id is not None:
        narrow("timer.saga_id = %(saga_id)s::uuid", saga_id=wanted.saga_id)
    if wanted.name is not None:
        narrow("saga.name = %(name)s", name=wanted.name)
    if wanted.participant is not None:
        queues = [f"{wanted.participant}.do", f"{wanted.participant}.undo"]
        narrow("timer.queue = ANY(%(queues)s::text[])", queues=queues)
    if wanted.labels:
        narrow("saga.labels @> %(labels)s::jsonb", labels=json.dumps(dict(wanted.labels)))
    if wanted.kind == "deadline":
        narrow("timer.path = ''")
    elif wanted.kind is not None:
        phase = next(phase for phase, kind in KINDS.items() if kind == wanted.kind)
        narrow("timer.path <> '' AND step.phase = %(phase)s", phase=phase)
    if wanted.within is not None:
        narrow("timer.due_at < now() + %(within)s", within=wanted.within)
    if after is not None:
        narrow(
            "(timer.due_at, timer.saga_id, timer.path) > (%(at)s::timestamptz, %(at_id)s::uuid, %(at_path)s::text)",
            at=after.due_at,
            at_id=after.saga_id,
            at_path=after.path,
        )
    return conditions, values
