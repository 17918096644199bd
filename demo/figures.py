"""What a run came to, in figures, read from the databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from amends.db.engines import transaction
from amends.demo.evidence import Databases

# How many sagas have which status.
BY_STATUS = "SELECT status, count(*) FROM amends.saga GROUP BY status"

# When each saga ended.
ENDS = "SELECT id::text, ended_at FROM amends.saga WHERE ended_at IS NOT NULL"

# When each order was placed.
PLACED = "SELECT saga_id::text, placed_at FROM orders"

# Commands that were sent again: each step was sent its `do` once, and its `undo` once if it came to that.
RETRIES = """
    SELECT coalesce(sum(attempt - CASE WHEN op = 'do' THEN 1 ELSE 2 END), 0) FROM amends.step WHERE attempt > 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of sagas; `seconds` from the first order placed to the last saga ended; `p50_ms`, `p99_ms` per saga.

    `first_ended_at` is when the first saga had ended.
    """

    sagas: int
    completed: int
    compensated: int
    stuck: int
    unfinished: int
    retries: int
    seconds: float
    p50_ms: float
    p99_ms: float
    first_ended_at: datetime | None = None

    @property
    def per_second(self) -> float:
        """Sagas that ended, per second."""
        return (self.completed + self.compensated) / self.seconds if self.seconds else 0.0


def measure(databases: Databases) -> Figures:
    """The figures of a run that is over. Raises: StoreUnavailable."""
    with transaction(databases.coordinator) as connection:
        statuses = {row[0]: int(row[1]) for row in connection.exec_driver_sql(BY_STATUS)}
        ends: dict[str, datetime] = {row[0]: row[1] for row in connection.exec_driver_sql(ENDS)}
        retries = int(connection.exec_driver_sql(RETRIES).scalar_one())
    with transaction(databases.front) as connection:
        placed: dict[str, datetime] = {row[0]: row[1] for row in connection.exec_driver_sql(PLACED)}
    took = sorted((ends[saga] - at).total_seconds() * 1_000 for saga, at in placed.items() if saga in ends)
    span = (max(ends.values()) - min(placed.values())).total_seconds() if ends and placed else 0.0
    return Figures(
        sagas=len(placed),
        completed=statuses.get("completed", 0),
        compensated=statuses.get("compensated", 0),
        stuck=statuses.get("stuck", 0),
        unfinished=len(placed) - sum(statuses.get(one, 0) for one in ("completed", "compensated", "stuck")),
        retries=retries,
        seconds=span,
        p50_ms=percentile(took, 50),
        p99_ms=percentile(took, 99),
        first_ended_at=min(ends.values(), default=None),
    )


def percentile(ascending: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` % of them do not exceed; 0 if there is none."""
    if not ascending:
        return 0.0
    return ascending[max(0, -(-len(ascending) * percent // 100) - 1)]
