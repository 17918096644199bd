"""What the gauges tell, read from the database: a few indexed counts, one statement each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.tables import coordinator as tables
from amends.outbox.storage import OutboxStats
from amends.outbox.store import OutboxStore

# A scrape must not pile up behind a slow database: Prometheus gives up after ten seconds.
LIMIT_TIME = "SET LOCAL statement_timeout = '5s'"

# Sagas that have not ended, by name and status; walks the partial index of live sagas.
LIVE_SAGAS = """
    SELECT name, status, count(*) FROM amends.saga WHERE ended_at IS NULL AND status <> 'placeholder'
    GROUP BY name, status
"""

# The names whose starts wait.
SUSPENDED = "SELECT name FROM amends.suspension WHERE resumed_at IS NULL"

# Commands that wait for room in a window or for a breaker, by queue.
PARKED_STEPS = "SELECT queue, count(*) FROM amends.step WHERE phase = 'parked' GROUP BY queue"

# The breakers, one row per command queue.
BREAKERS = "SELECT queue, state = 'open' FROM amends.breaker"


# Schedules, and how long the longest overdue has been due; they are few (SCHEDULES_MAX). What fails or is held tells
# so itself: overdue is what nobody gets to.
SCHEDULES = """
    SELECT count(*) FILTER (WHERE paused_at IS NULL), count(*) FILTER (WHERE paused_at IS NOT NULL),
        count(*) FILTER (WHERE last_error IS NOT NULL),
        greatest(0, extract(epoch FROM now() - min(next_due)
            FILTER (WHERE paused_at IS NULL AND last_error IS NULL)))::float
    FROM amends.schedule
"""


@dataclass(frozen=True, slots=True)
class ScheduleReadings:
    """How many schedules there are; among them `failing` could not start their last run.

    `overdue_s` is how long the longest overdue one has been due.
    """

    active: int
    paused: int
    failing: int
    overdue_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeReadings:
    """One reading of the database. `live_sagas` counts by (name, status); starts of `suspended` sagas wait."""

    live_sagas: Mapping[tuple[str, str], int]
    parked_steps: Mapping[str, int]
    breakers: Mapping[str, bool]
    schedules: ScheduleReadings
    outbox: OutboxStats
    suspended: Collection[str] = ()


def read_gauges(database: Engine) -> GaugeReadings:
    """Read every gauge in one transaction. Raises: StoreUnavailable."""
    store = OutboxStore(tables.outbox, tables.owner)
    with transaction(database) as connection:
        connection.exec_driver_sql(LIMIT_TIME)
        live = {(name, status): n for name, status, n in connection.exec_driver_sql(LIVE_SAGAS).all()}
        suspended = tuple(connection.exec_driver_sql(SUSPENDED).scalars())
        parked = {row[0]: row[1] for row in connection.exec_driver_sql(PARKED_STEPS).all()}
        breakers = {queue: bool(is_open) for queue, is_open in connection.exec_driver_sql(BREAKERS).all()}
        schedules = ScheduleReadings(*connection.exec_driver_sql(SCHEDULES).one())
        stats = store.stats(connection)
    return GaugeReadings(
        live_sagas=live,
        parked_steps=parked,
        breakers=breakers,
        schedules=schedules,
        outbox=stats,
        suspended=suspended,
    )
