"""The outbox's statements on MySQL 8 and MariaDB 10.6, at READ COMMITTED (placeholders of pymysql).

`$outbox`, `$owner` and `$keys` stand for the quoted table names, `$ids` for a list of numbers. Neither gives rows back
from an UPDATE, and MySQL not even from an INSERT: rows are locked first, then read and written. Times are UTC.
"""

from __future__ import annotations

from typing import Final

NOW: Final = "utc_timestamp(6)"


def _in(parameter: str) -> str:
    """So many seconds from now. The interval counts microseconds: one in seconds would lose what follows the point."""
    return f"{NOW} + INTERVAL CAST(({parameter}) * 1000000 AS SIGNED) MICROSECOND"


def _since_s(column: str) -> str:
    return f"timestampdiff(MICROSECOND, {column}, {NOW}) / 1e6"


# Make puts of some ordering keys wait for each other until their transactions end (O6): a lock by name would belong to
# the session and outlive its transaction, or end before it. Not IGNORE: that takes a shared lock on what it meets, and
# two that waited for it would deadlock.
LOCK_KEYS: Final = "INSERT INTO $keys (hash) VALUES $hashes ON DUPLICATE KEY UPDATE hash = hash"

# The rows stay locked, and nobody will ever see them.
HIDE_KEYS: Final = "DELETE FROM $keys WHERE hash IN ($list)"

# One row's place in INSERT.
INSERT_ROW: Final = f"(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, {NOW}, {_in('%s')}, %s)"

# Store messages: the ids of one statement follow each other, the first is told.
INSERT: Final = """
INSERT INTO $outbox (
    message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, due_at, owner
) VALUES $rows
"""

# How far one id is from the next: more than one where several servers take writes.
STEP: Final = "SELECT @@auto_increment_increment"

# The ordering keys among some rows.
KEYS: Final = "SELECT DISTINCT ordering_key FROM $outbox WHERE id IN ($ids) AND ordering_key IS NOT NULL"

# Delete confirmed rows. What needs a receipt goes by its receipt only (O1).
DELETE: Final = "DELETE FROM $outbox WHERE id IN ($ids) AND NOT needs_receipt"

# Hold the rows that some receipts may speak of: the message id must match too.
RECEIPTED: Final = (
    "SELECT id, message_id FROM $outbox WHERE id IN ($ids) AND needs_receipt ORDER BY id FOR UPDATE"
)

# Delete rows that were receipted.
RECEIVE: Final = "DELETE FROM $outbox WHERE id IN ($ids)"

# Delete parked rows that an operator gave up.
DROP: Final = "DELETE FROM $outbox WHERE id IN ($ids) AND parked_at IS NOT NULL"

# The next row of each of some ordering keys.
HEADS: Final = "SELECT min(id) FROM $outbox WHERE ordering_key IN ($list) GROUP BY ordering_key"

# These are the heads of their keys now: no longer deferred, if they were. It waits for whoever is just deferring one.
WAKE: Final = f"""
UPDATE $outbox SET due_at = IF(leased_until IS NULL, due_at, {NOW}), leased_until = NULL WHERE id IN ($ids)
"""

# Lock what is due, oldest first, past what others have locked. Leases move `due_at`, so nothing under way is read.
CANDIDATES: Final = f"""
SELECT id, ordering_key
FROM $outbox
WHERE owner IS NULL AND parked_at IS NULL AND due_at <= {NOW}
ORDER BY due_at, id
LIMIT %(rows_max)s
FOR UPDATE SKIP LOCKED
"""

# The head of each of some ordering keys. A statement of its own, so that it sees every delete that was committed before
# the candidates were locked.
BEHIND: Final = """
SELECT ordering_key, min(id) FROM $outbox WHERE ordering_key IN ($list) GROUP BY ordering_key
"""

# Short at first: whoever deletes the row before may have looked for the next one before that was committed, and then
# wakes nobody. A row that waits is looked at once in each doubling of its age.
_DEFERRED: Final = _in(f"greatest(2, least({_since_s('created_at')}, 3600))")

# Let rows behind an older one of their key wait, the longer the longer they already did: `WAKE` ends it.
DEFER: Final = f"""
UPDATE $outbox SET due_at = {_DEFERRED}, leased_until = {_DEFERRED} WHERE id IN ($ids)
"""

# Lease locked rows.
LEASE: Final = f"""
UPDATE $outbox SET due_at = {_in("%(lease_s)s")}, leased_until = {_in("%(lease_s)s")} WHERE id IN ($ids)
"""

# Read them.
LEASED: Final = f"""
SELECT
    id, message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, attempts, {_since_s("created_at")}, {_since_s("returned_since")}
FROM $outbox WHERE id IN ($ids) ORDER BY id
"""

_HAND_BACK: Final = f"""
UPDATE $outbox
SET owner = NULL, leased_until = NULL, due_at = {_in("%(delay_s)s")}, last_error = %(error)s,
    attempts = attempts + %(counts)s,
    returned_since = IF(%(returned)s, coalesce(returned_since, {NOW}), returned_since)
WHERE id IN ($ids)
"""

# Hand rows back to the sweep: what a relay leased.
RELEASE: Final = f"{_HAND_BACK} AND owner IS NULL AND parked_at IS NULL"

# Hand rows over to the sweep: what an owner gives up. What a relay has taken over already is left to it.
DISOWN: Final = f"{_HAND_BACK} AND owner IS NOT NULL"

# Columns are set from left to right here, so `due_at` before what it is reckoned from.
# Confirmed, now awaiting its receipt (O1): sent again by any relay after a growing delay.
MARK_SENT: Final = f"""
UPDATE $outbox
SET due_at = {_in("least(%(first_s)s * pow(2, least(attempts, 30)), %(longest_s)s)")},
    owner = NULL, sent_at = {NOW}, leased_until = NULL, attempts = attempts + 1, returned_since = NULL
WHERE id IN ($ids) AND needs_receipt AND parked_at IS NULL
"""

# Set rows aside for an operator, by their own fault (O4).
PARK: Final = f"""
UPDATE $outbox
SET last_error = %(error)s, parked_at = {NOW}, owner = NULL, leased_until = NULL
WHERE id IN ($ids) AND parked_at IS NULL
"""

# Let parked rows go again, as new.
RETRY_PARKED: Final = f"""
UPDATE $outbox
SET parked_at = NULL, attempts = 0, returned_since = NULL, due_at = {NOW}, leased_until = NULL
WHERE parked_at IS NOT NULL
"""

# The same, of these rows only.
RETRY_THESE: Final = f"{RETRY_PARKED} AND id IN ($ids)"

# A page of what is parked.
PARKED: Final = """
SELECT id, message_id, exchange, routing_key, type, created_at, parked_at, attempts, last_error
FROM $outbox
WHERE parked_at IS NOT NULL AND id > %(after)s
ORDER BY id
LIMIT %(rows_max)s
"""

# What stands in the outbox. Rows that were never due yet are pending, but not old.
STATS: Final = f"""
SELECT
    count(CASE WHEN parked_at IS NULL AND sent_at IS NULL THEN 1 END),
    coalesce(timestampdiff(MICROSECOND, min(CASE
        WHEN parked_at IS NULL AND sent_at IS NULL
         AND NOT (due_at > {NOW} AND owner IS NULL AND leased_until IS NULL AND last_error IS NULL)
        THEN created_at END), {NOW}) / 1e6, 0.0),
    count(CASE WHEN parked_at IS NULL AND sent_at IS NOT NULL THEN 1 END),
    count(CASE WHEN parked_at IS NOT NULL THEN 1 END)
FROM $outbox
"""

# An owner lives.
BEAT: Final = f"""
INSERT INTO $owner (id, label, beat_at) VALUES (%(owner)s, %(label)s, {NOW})
ON DUPLICATE KEY UPDATE beat_at = {NOW}
"""

# An owner goes: what it leaves behind is swept at once.
FORGET_OWNER: Final = "DELETE FROM $owner WHERE id = %(owner)s"

# A process that took a fresh owner id keeps the rows it knows to be committed.
ADOPT: Final = "UPDATE $outbox SET owner = %(owner)s WHERE id IN ($ids) AND owner IS NOT NULL"

# Who has rows.
HOLDERS: Final = "SELECT DISTINCT owner FROM $outbox WHERE owner IS NOT NULL"

# Who lives.
LIVING: Final = f"SELECT id FROM $owner WHERE beat_at > {_in('-%(dead_s)s')}"

# Hold rows of dead owners, oldest first, past what others have locked.
ORPHANS: Final = """
SELECT id FROM $outbox WHERE owner IN ($list) ORDER BY created_at LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
"""

# Hold rows of living owners that are older than the backstop; and whether they were seen to be so for a while: a long
# transaction commits rows that are old at once.
FORGOTTEN: Final = f"""
SELECT id, leased_until IS NULL, leased_until <= {NOW} FROM $outbox
WHERE owner IN ($list) AND created_at <= {_in("-%(backstop_s)s")}
ORDER BY created_at LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
"""

# Remember since when held rows are seen to be old.
MARK_OLD: Final = f"UPDATE $outbox SET leased_until = {_in('%(grace_s)s')} WHERE id IN ($ids)"

# Take held rows from their owners.
TAKE: Final = f"UPDATE $outbox SET owner = NULL, leased_until = NULL, due_at = {NOW} WHERE id IN ($ids)"

# Owners that died long ago and left nothing.
PRUNE_OWNERS: Final = f"""
DELETE FROM $owner
WHERE beat_at < {_in("-%(dead_s)s - 3600")}
  AND NOT EXISTS (SELECT 1 FROM $outbox AS o WHERE o.owner = $owner.id)
"""
