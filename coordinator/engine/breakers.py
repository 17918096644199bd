"""The breakers' rows: one per command queue, shared by every coordinator (M6)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from amends.coordinator.engine import sql
from amends.coordinator.engine.gate import BreakerRow

OPEN = """
    INSERT INTO amends.breaker AS breaker (queue, state, failures, opened_at, closed_at, probe_until)
    VALUES (%(queue)s, 'open', %(failures)s, now(), now(), now() + %(pause_s)s * interval '1 second')
    ON CONFLICT (queue) DO UPDATE SET state = 'open', failures = excluded.failures, opened_at = now(), probes = 0,
        probe_until = excluded.probe_until
    WHERE breaker.state = 'closed'
    RETURNING queue
"""

CLOSE = """
    UPDATE amends.breaker SET state = 'closed', failures = 0, opened_at = NULL, closed_at = now(), probes = 0,
        probe_until = NULL
    WHERE queue = %(queue)s AND state = 'open'
    RETURNING queue
"""

ALL = "SELECT queue, state = 'open', (extract(epoch FROM closed_at) * 1000)::bigint FROM amends.breaker"

# Exactly one coordinator sends the next probe: the lease lasts until the one after it is due. The exponent is bounded:
# after a thousand probes, less than a day, the power would be more than a number can hold.
LEASE_PROBE = """
    UPDATE amends.breaker SET probes = probes + 1,
        probe_until = now() + least(%(first_s)s * power(2, least(probes, 30)), %(longest_s)s) * interval '1 second'
    WHERE queue = %(queue)s AND state = 'open' AND probe_until <= now()
    RETURNING queue
"""

# Any waiting command is a probe: a parked one first, for it adds no second copy; else the one that waits longest. The
# arms as in `windows.COUNTS`.
WAITING_COMMAND = """
    SELECT step.saga_id, step.path FROM (
        SELECT saga_id, path, phase, attempt, since_ms FROM amends.step
        WHERE queue = %(queue)s AND phase = 'parked'
        UNION ALL
        SELECT saga_id, path, phase, attempt, since_ms FROM amends.step
        WHERE queue = %(queue)s AND phase IN ('awaiting', 'backoff')
    ) AS step
    CROSS JOIN LATERAL (SELECT status FROM amends.saga WHERE saga.id = step.saga_id LIMIT 1) AS saga
    WHERE saga.status IN ('running', 'compensating')
    ORDER BY step.phase <> 'parked', step.attempt, step.since_ms LIMIT 1
"""


def store_decisions(
    connection: Connection, opened: Iterable[str], closed: Iterable[str], *, failures: int, pause_s: float
) -> tuple[list[str], list[str]]:
    """Store what the gate decided; a closed breaker releases what it held. Returns what really changed."""
    really_opened = []
    for queue in sorted(opened):
        row = {"queue": queue, "failures": failures, "pause_s": pause_s}
        if connection.exec_driver_sql(OPEN, row).first() is not None:
            really_opened.append(queue)
    really_closed = []
    for queue in sorted(closed):
        if connection.exec_driver_sql(CLOSE, {"queue": queue}).first() is not None:
            really_closed.append(queue)
            connection.exec_driver_sql(sql.RELEASE_TIMERS, {"queue": queue})
    return really_opened, really_closed


def load(connection: Connection) -> dict[str, BreakerRow]:
    """Every breaker as stored."""
    rows = connection.exec_driver_sql(ALL).all()
    return {queue: BreakerRow(open=is_open, closed_ms=closed_ms) for queue, is_open, closed_ms in rows}


def lease_probe(
    connection: Connection, queue: str, *, first_s: float, longest_s: float
) -> tuple[str, str] | None:
    """The waiting command that is this queue's next probe, if a probe is due and nobody else sends it."""
    lease = {"queue": queue, "first_s": first_s, "longest_s": longest_s}
    if connection.exec_driver_sql(LEASE_PROBE, lease).first() is None:
        return None
    row = connection.exec_driver_sql(WAITING_COMMAND, {"queue": queue}).first()
    return (str(row[0]), row[1]) if row is not None else None
