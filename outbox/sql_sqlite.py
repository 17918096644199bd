"""The outbox's statements on SQLite: one writer at a time, so nothing needs locking. Lists come as JSON.

`$outbox` and `$owner` stand for the quoted table names, `$now` for the present as text that sorts by time.
"""

from __future__ import annotations

from typing import Final

NOW: Final = "strftime('%Y-%m-%d %H:%M:%f', 'now')"


def _in(parameter: str) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {parameter}))"


# One row's place in INSERT, and how many bound values it takes.
INSERT_ROW: Final = f"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, $now, {_in('?')}, ?)"
INSERT_ROW_VALUES: Final = 13

# Store messages; ids rise in the messages' order.
INSERT: Final = """
INSERT INTO $outbox (
    message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, due_at, owner
) VALUES $rows RETURNING id
"""

# The ordering keys among some rows.
KEYS: Final = """
SELECT DISTINCT ordering_key FROM $outbox
WHERE id IN (SELECT value FROM json_each(:ids)) AND ordering_key IS NOT NULL
"""

# Delete confirmed rows. What needs a receipt goes by its receipt only (O1).
DELETE: Final = "DELETE FROM $outbox WHERE id IN (SELECT value FROM json_each(:ids)) AND NOT needs_receipt"

# The rows that some receipts speak of. The message id must match too.
RECEIPTED: Final = """
SELECT o.id
FROM json_each(:receipts) AS r
JOIN $outbox AS o
    ON o.id = json_extract(r.value, '$[0]') AND o.message_id = json_extract(r.value, '$[1]') AND o.needs_receipt
"""

# Delete rows that were receipted.
RECEIVE: Final = "DELETE FROM $outbox WHERE id IN (SELECT value FROM json_each(:ids))"

# Delete parked rows that an operator gave up.
DROP: Final = """
DELETE FROM $outbox WHERE id IN (SELECT value FROM json_each(:ids)) AND parked_at IS NOT NULL
"""

# The head of each ordering key is now the next row: no longer deferred, if it was.
WAKE: Final = """
UPDATE $outbox
SET due_at = CASE WHEN leased_until IS NULL THEN due_at ELSE $now END, leased_until = NULL
WHERE id IN (
    SELECT min(id) FROM $outbox WHERE ordering_key IN (SELECT value FROM json_each(:keys)) GROUP BY ordering_key
)
"""

# What is due, oldest first, and whether it stands behind an older row of its key.
CANDIDATES: Final = """
SELECT c.id, c.ordering_key IS NOT NULL AND EXISTS (
    SELECT 1 FROM $outbox AS o WHERE o.ordering_key = c.ordering_key AND o.id < c.id
)
FROM $outbox AS c
WHERE c.owner IS NULL AND c.parked_at IS NULL AND c.due_at <= $now
ORDER BY c.due_at, c.id
LIMIT :rows_max
"""

# Let rows behind an older one of their key wait, the longer the longer they already did: `WAKE` ends it.
DEFER: Final = f"""
UPDATE $outbox
SET (due_at, leased_until) = (
    SELECT w.until, w.until
    FROM (SELECT {_in("max(60.0, min((julianday('now') - julianday(created_at)) * 86400.0, 3600.0))")} AS until) AS w
)
WHERE id IN (SELECT value FROM json_each(:ids))
"""

# Lease rows, and read them.
LEASE: Final = f"""
UPDATE $outbox
SET due_at = {_in(":lease_s")}, leased_until = {_in(":lease_s")}
WHERE id IN (SELECT value FROM json_each(:ids))
RETURNING
    id, message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, attempts, (julianday('now') - julianday(created_at)) * 86400.0,
    (julianday('now') - julianday(returned_since)) * 86400.0
"""

_HAND_BACK: Final = f"""
UPDATE $outbox
SET owner = NULL, leased_until = NULL, due_at = {_in(":delay_s")}, last_error = :error,
    attempts = attempts + :counts,
    returned_since = CASE WHEN :returned THEN coalesce(returned_since, $now) ELSE returned_since END
WHERE id IN (SELECT value FROM json_each(:ids))
"""

# Hand rows back to the sweep: what a relay leased.
RELEASE: Final = f"{_HAND_BACK} AND owner IS NULL AND parked_at IS NULL"

# Hand rows over to the sweep: what an owner gives up.
DISOWN: Final = f"{_HAND_BACK} AND owner IS NOT NULL"

# Confirmed, now awaiting its receipt (O1): sent again by any relay after a growing delay.
MARK_SENT: Final = f"""
UPDATE $outbox
SET sent_at = $now, owner = NULL, leased_until = NULL, attempts = attempts + 1, returned_since = NULL,
    due_at = {_in("min(:first_s * (1 << min(attempts, 30)), :longest_s)")}
WHERE id IN (SELECT value FROM json_each(:ids)) AND needs_receipt AND parked_at IS NULL
"""

# Set rows aside for an operator, by their own fault (O4).
PARK: Final = """
UPDATE $outbox
SET parked_at = $now, owner = NULL, leased_until = NULL, last_error = :error
WHERE id IN (SELECT value FROM json_each(:ids)) AND parked_at IS NULL
"""

# Let parked rows go again, as new; all of them if no ids are given.
RETRY_PARKED: Final = """
UPDATE $outbox
SET parked_at = NULL, attempts = 0, returned_since = NULL, due_at = $now, leased_until = NULL
WHERE parked_at IS NOT NULL AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
"""

# A page of what is parked.
PARKED: Final = """
SELECT id, message_id, exchange, routing_key, type, created_at, parked_at, attempts, last_error
FROM $outbox
WHERE parked_at IS NOT NULL AND id > :after
ORDER BY id
LIMIT :rows_max
"""

# What stands in the outbox. Rows that were never due yet are pending, but not old.
STATS: Final = """
SELECT
    count(*) FILTER (WHERE parked_at IS NULL AND sent_at IS NULL),
    coalesce((julianday('now') - julianday(min(created_at) FILTER (
        WHERE parked_at IS NULL AND sent_at IS NULL
        AND NOT (due_at > $now AND owner IS NULL AND leased_until IS NULL AND last_error IS NULL)
    ))) * 86400.0, 0.0),
    count(*) FILTER (WHERE parked_at IS NULL AND sent_at IS NOT NULL),
    count(*) FILTER (WHERE parked_at IS NOT NULL)
FROM $outbox
"""

# An owner lives.
BEAT: Final = """
INSERT INTO $owner (id, label, beat_at) VALUES (:owner, :label, $now)
ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at
"""

# An owner goes: what it leaves behind is swept at once.
FORGET_OWNER: Final = "DELETE FROM $owner WHERE id = :owner"

# A process that took a fresh owner id keeps the rows it knows to be committed.
ADOPT: Final = """
UPDATE $outbox SET owner = :owner WHERE id IN (SELECT value FROM json_each(:ids)) AND owner IS NOT NULL
"""

_LIVING: Final = f"(SELECT id FROM $owner WHERE beat_at > {_in('-:dead_s')})"

# A living owner's rows that are older than the backstop: seen to be so from now on.
MARK_OLD: Final = f"""
UPDATE $outbox SET leased_until = {_in(":grace_s")}
WHERE owner IS NOT NULL AND leased_until IS NULL AND created_at <= {_in("-:backstop_s")} AND owner IN {_LIVING}
"""

# Take rows from owners: all of a dead one's; of a living one's those seen to be old for a while.
DISOWN_DEAD: Final = f"""
UPDATE $outbox SET owner = NULL, leased_until = NULL, due_at = $now
WHERE id IN (
    SELECT id FROM $outbox
    WHERE owner IS NOT NULL AND (leased_until <= $now OR owner NOT IN {_LIVING})
    ORDER BY created_at
    LIMIT :rows_max
)
"""

# Owners that died long ago and left nothing.
PRUNE_OWNERS: Final = f"""
DELETE FROM $owner
WHERE beat_at < {_in("-:dead_s - 3600.0")}
  AND NOT EXISTS (SELECT 1 FROM $outbox AS o WHERE o.owner = $owner.id)
"""
