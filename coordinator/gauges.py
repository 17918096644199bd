"""What the gauges tell, read from the database: a few indexed counts, one statement each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from amends.db.engines import transaction

# A scrape must not pile up behind a slow database: Prometheus gives up after ten seconds.
LIMIT_TIME = "SET LOCAL statement_timeout = '5s'"

# Sagas that have not ended, by name and status; walks the partial index of live sagas.
LIVE_SAGAS = "SELECT name, status, count(*) FROM amends.saga WHERE ended_at IS NULL GROUP BY name, status"

# Commands that wait for room in a window or for a breaker, by queue.
PARKED_STEPS = "SELECT queue, count(*) FROM amends.step WHERE phase = 'parked' GROUP BY queue"

# The breakers, one row per command queue.
BREAKERS = "SELECT queue, state = 'open' FROM amends.breaker"

# Rows that wait to be sent, the age of the oldest, and rows parked by their own fault.
OUTBOX = """
    SELECT count(*) FILTER (WHERE parked_at IS NULL),
        coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE parked_at IS NULL)), 0)::float8,
        count(*) FILTER (WHERE parked_at IS NOT NULL)
    FROM amends.outbox WHERE sent_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeReadings:
    """One reading of the database. `live_sagas` counts by (name, status)."""

    live_sagas: Mapping[tuple[str, str], int]
    parked_steps: Mapping[str, int]
    breakers: Mapping[str, bool]
    outbox_pending: int
    outbox_oldest_age_s: float
    outbox_parked: int


def read_gauges(database: Engine) -> GaugeReadings:
    """Read every gauge in one transaction. Raises: StoreUnavailable."""
    with transaction(database) as connection:
        connection.exec_driver_sql(LIMIT_TIME)
        live = {(name, status): n for name, status, n in connection.exec_driver_sql(LIVE_SAGAS).all()}
        parked = {row[0]: row[1] for row in connection.exec_driver_sql(PARKED_STEPS).all()}
        breakers = {queue: bool(is_open) for queue, is_open in connection.exec_driver_sql(BREAKERS).all()}
        pending, age_s, stopped = connection.exec_driver_sql(OUTBOX).one()
    return GaugeReadings(
        live_sagas=live,
        parked_steps=parked,
        breakers=breakers,
        outbox_pending=pending,
        outbox_oldest_age_s=max(0.0, age_s),
        outbox_parked=stopped,
    )
