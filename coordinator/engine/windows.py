"""Windows: how many commands are out and parked per queue, and who is let in next (E4)."""

from __future__ import annotations

from collections import deque
from typing import Final

from sqlalchemy import Connection

# Each arm has a partial index of its own, which no condition over all three phases could use, and a saga is looked up
# by itself: whatever the statistics say, the settled steps of finished sagas are not read.
COUNTS = """
    SELECT step.queue, count(*) FILTER (WHERE step.op = 'do' AND step.phase <> 'parked'),
        count(*) FILTER (WHERE step.phase = 'parked')
    FROM (
        SELECT saga_id, queue, op, phase FROM amends.step WHERE phase = 'parked'
        UNION ALL
        SELECT saga_id, queue, op, phase FROM amends.step WHERE phase IN ('awaiting', 'backoff')
    ) AS step
    CROSS JOIN LATERAL (SELECT status FROM amends.saga WHERE saga.id = step.saga_id LIMIT 1) AS saga
    WHERE saga.status IN ('running', 'compensating')
    GROUP BY step.queue
"""

# The longest waiting of each saga name in turn, beginning after the name that was served last.
NEXT_PARKED = """
    SELECT saga_id, path, name FROM (
        SELECT step.saga_id, step.path, saga.name,
            row_number() OVER (PARTITION BY saga.name ORDER BY step.since_ms, step.saga_id) AS turn
        FROM amends.step JOIN amends.saga ON saga.id = step.saga_id AND saga.status IN ('running', 'compensating')
        WHERE step.queue = %(queue)s AND step.phase = 'parked'
    ) AS parked
    ORDER BY turn, name <= %(cursor)s, name LIMIT %(rows_max)s
"""

DRAWN_MAX: Final = 2_000


class Admissions:
    """Draws parked steps, some thousand at a time, and hands them out as room appears.

    What was drawn is a hint: a step that is no longer parked when it is admitted is left alone.
    """

    def __init__(self) -> None:
        self._drawn: dict[str, deque[tuple[str, str, str]]] = {}
        self._cursor: dict[str, str] = {}

    def next(self, connection: Connection, queue: str, room: int) -> list[tuple[str, str]]:
        """Up to `room` parked steps of a queue: (saga id, path)."""
        drawn = self._drawn.setdefault(queue, deque())
        if not drawn:
            parameters = {"queue": queue, "cursor": self._cursor.get(queue, ""), "rows_max": DRAWN_MAX}
            rows = connection.exec_driver_sql(NEXT_PARKED, parameters).all()
            drawn.extend((str(saga_id), path, name) for saga_id, path, name in rows)
        admitted: list[tuple[str, str]] = []
        while drawn and len(admitted) < room:
            saga_id, path, name = drawn.popleft()
            admitted.append((saga_id, path))
            self._cursor[queue] = name
        return admitted


def counts(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """How many commands are out, and how many parked, per queue."""
    out: dict[str, int] = {}
    parked: dict[str, int] = {}
    for queue, are_out, are_parked in connection.exec_driver_sql(COUNTS).all():
        out[queue], parked[queue] = are_out, are_parked
    return out, parked
