"""The statements on `amends.schedule`. All times are the database's."""

from __future__ import annotations

from typing import Final

# In the order of `Schedule`.
_COLUMNS: Final = """name, cron, timezone, saga, version, input::text, labels, missed, created_at, created_by,
    paused_at, next_due, last_due, last_saga, last_error, failed_at, fired_runs, missed_runs, failed_runs"""

# One schedule by name.
FIND: Final = f"SELECT {_COLUMNS} FROM amends.schedule WHERE name = %(name)s"

# As FIND, for who is about to change it. Waits for a firing under way.
FIND_LOCKED: Final = f"{FIND} FOR UPDATE"

# Every schedule, by name.
ALL: Final = f"SELECT {_COLUMNS} FROM amends.schedule ORDER BY name"

COUNT: Final = "SELECT count(*) FROM amends.schedule"

# A new schedule. Waits for a concurrent insert of the same name, then yields.
INSERT: Final = """
    INSERT INTO amends.schedule (name, cron, timezone, saga, version, input, labels, missed, created_by, next_due)
    VALUES (%(name)s, %(cron)s, %(timezone)s, %(saga)s, %(version)s, %(input)s::json, %(labels)s::jsonb, %(missed)s,
        %(actor)s, to_timestamp(%(next_ms)s / 1000.0))
    ON CONFLICT (name) DO NOTHING
    RETURNING id
"""

PAUSE: Final = "UPDATE amends.schedule SET paused_at = now() WHERE name = %(name)s"
RESUME: Final = """
    UPDATE amends.schedule SET paused_at = NULL, next_due = to_timestamp(%(next_ms)s / 1000.0) WHERE name = %(name)s
"""
REMOVE: Final = "DELETE FROM amends.schedule WHERE name = %(name)s"

# What is due, longest overdue first, but for what this coordinator has under way. Locks nothing: who fires decides.
DUE: Final = """
    SELECT id, name, cron, timezone, missed, (extract(epoch FROM next_due) * 1000)::bigint AS due_ms,
        (extract(epoch FROM now()) * 1000)::bigint AS now_ms
    FROM amends.schedule
    WHERE paused_at IS NULL AND next_due <= now() AND NOT EXISTS (
        SELECT FROM unnest(%(ids)s::bigint[], %(dues)s::bigint[]) AS known (id, due_ms)
        WHERE known.id = schedule.id AND known.due_ms = (extract(epoch FROM schedule.next_due) * 1000)::bigint
    )
    ORDER BY next_due LIMIT %(rows_max)s
"""

# The schedules to fire, as far as they are still due at the same instant and nobody else is at it (S4).
LOCK_DUE: Final = """
    SELECT schedule.id, due.due_ms, name, saga, version, input::text, labels
    FROM amends.schedule
    JOIN unnest(%(ids)s::bigint[], %(dues)s::bigint[]) AS due (id, due_ms)
        ON schedule.id = due.id AND (extract(epoch FROM schedule.next_due) * 1000)::bigint = due.due_ms
    WHERE paused_at IS NULL
    ORDER BY schedule.id FOR UPDATE OF schedule SKIP LOCKED
"""

# What became of an instant, and when the next is due. A run that succeeds takes the last error back.
FIRED: Final = """
    UPDATE amends.schedule AS old SET next_due = to_timestamp(new.next_ms / 1000.0),
        last_due = coalesce(to_timestamp(new.last_ms / 1000.0), old.last_due),
        last_saga = coalesce(new.last_saga, old.last_saga),
        last_error = coalesce(new.error, CASE WHEN new.fired = 0 THEN old.last_error END),
        failed_at = CASE WHEN new.error IS NOT NULL THEN now() WHEN new.fired = 0 THEN old.failed_at END,
        fired_runs = old.fired_runs + new.fired, missed_runs = old.missed_runs + new.missed,
        failed_runs = old.failed_runs + new.failed
    FROM unnest(%(id)s::bigint[], %(next_ms)s::bigint[], %(last_ms)s::bigint[], %(last_saga)s::uuid[],
        %(error)s::text[], %(fired)s::int[], %(missed)s::int[], %(failed)s::int[])
        AS new (id, next_ms, last_ms, last_saga, error, fired, missed, failed)
    WHERE old.id = new.id
"""

# Why it does not fire here although it is due; it stays due, another coordinator may be able to.
CANNOT: Final = """
    UPDATE amends.schedule SET last_error = %(error)s, failed_at = now()
    WHERE id = %(id)s AND last_error IS DISTINCT FROM %(error)s
"""
