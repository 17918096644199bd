"""The outbox's statements on PostgreSQL. `$outbox` and `$owner` stand for the quoted table names.

Times are the database's. Statements that may meet on the same rows lock them in id order first. Which rows those are is
asked where they are locked and not where they are written: few rows seem to pass such a question, and for few rows
PostgreSQL joins by reading all that pass for each of them (measured: 238 pages and 66 us a row instead of 8 and 16).
"""

from __future__ import annotations

from typing import Final

# Serialise the puts of some ordering keys until their transactions end (O6). Sorted, so that none deadlock.
LOCK_KEYS: Final = (
    "SELECT pg_advisory_xact_lock(k.key) FROM unnest(%(keys)b::bigint[]) AS k(key) ORDER BY k.key"
)

# Store messages; ids rise in the messages' order. What is ordered or delayed has no owner: it is swept.
INSERT: Final = """
INSERT INTO $outbox (
    message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, due_at, owner
)
SELECT
    m.message_id, m.exchange, m.routing_key, m.type, m.correlation_id, m.reply_to, m.headers, m.expiration_ms, m.body,
    m.ordering_key, m.needs_receipt, statement_timestamp(),
    statement_timestamp() + m.delay_s * interval '1 second',
    CASE WHEN m.ordering_key IS NULL AND m.delay_s <= 0 THEN %(owner)b::uuid END
FROM unnest(
    %(message_id)b::text[], %(exchange)b::text[], %(routing_key)b::text[], %(type)b::text[],
    %(correlation_id)b::text[], %(reply_to)b::text[], %(headers)b::text[], %(expiration_ms)b::bigint[],
    %(body)b::bytea[], %(ordering_key)b::text[], %(needs_receipt)b::boolean[], %(delay_s)b::float8[]
) WITH ORDINALITY AS m (
    message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, delay_s, place
)
ORDER BY m.place
RETURNING id
"""

# Store one message: most transactions have no more, and arrays of one cost their client several times as much.
INSERT_ONE: Final = """
INSERT INTO $outbox (
    message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, due_at, owner
)
VALUES (
    %(message_id)s, %(exchange)s, %(routing_key)s, %(type)s, %(correlation_id)s, %(reply_to)s, %(headers)s,
    %(expiration_ms)s, %(body)s, %(ordering_key)s, %(needs_receipt)s, statement_timestamp(),
    statement_timestamp() + %(delay_s)s::float8 * interval '1 second', %(owner)s
)
RETURNING id
"""

# Delete confirmed rows; tell the ordering keys among them. What needs a receipt goes by its receipt only (O1).
DELETE: Final = """
WITH gone AS (
    DELETE FROM $outbox WHERE id = ANY(%(ids)b::bigint[]) AND NOT needs_receipt
    RETURNING ordering_key
)
SELECT DISTINCT ordering_key FROM gone WHERE ordering_key IS NOT NULL
"""

# Delete what was receipted. The message id must match too: a receipt for another table's row is ignored.
RECEIVE: Final = """
WITH told AS (
    SELECT o.id
    FROM unnest(%(ids)b::bigint[], %(message_ids)b::text[]) AS r(id, message_id)
    JOIN $outbox AS o ON o.id = r.id AND o.message_id = r.message_id AND o.needs_receipt
    ORDER BY o.id
    FOR UPDATE OF o
), gone AS (
    DELETE FROM $outbox WHERE id IN (SELECT id FROM told)
    RETURNING ordering_key
)
SELECT ordering_key FROM gone
"""

# Delete parked rows that an operator gave up.
DROP: Final = """
WITH gone AS (
    DELETE FROM $outbox WHERE id = ANY(%(ids)b::bigint[]) AND parked_at IS NOT NULL
    RETURNING ordering_key
)
SELECT ordering_key FROM gone
"""

# The head of each ordering key is now the next row: no longer deferred, if it was. Runs after the delete, as a
# statement of its own, and locks the head whatever it looks like: a claim that is just deferring it comes before.
# The head is looked for by range: only the keys' index has that order, so no statistics can mislead the planner.
WAKE: Final = """
UPDATE $outbox AS o
SET due_at = CASE WHEN o.leased_until IS NULL THEN o.due_at ELSE now() END, leased_until = NULL
FROM (
    SELECT h.id
    FROM unnest(%(keys)b::text[]) AS k(ordering_key)
    CROSS JOIN LATERAL (
        SELECT n.id, n.ordering_key FROM $outbox AS n
        WHERE n.ordering_key >= k.ordering_key ORDER BY n.ordering_key, n.id LIMIT 1
    ) AS h
    WHERE h.ordering_key = k.ordering_key
    ORDER BY h.id
) AS head
WHERE o.id = head.id
"""

# Whether anything is due. The order ties it to its index: a planner that takes many for due would read the table.
LOOK: Final = """
SELECT 1 FROM $outbox WHERE owner IS NULL AND parked_at IS NULL AND due_at <= now() ORDER BY due_at, id LIMIT 1
"""

# Lock what is due, oldest first, past what others have locked. Leases move `due_at`, so nothing under way is read.
CANDIDATES: Final = """
SELECT id, ordering_key
FROM $outbox
WHERE owner IS NULL AND parked_at IS NULL AND due_at <= now()
ORDER BY due_at, id
LIMIT %(rows_max)s
FOR UPDATE SKIP LOCKED
"""

# Those of the locked rows that stand behind an older row of their ordering key. A statement of its own, so that it
# sees every delete that was committed before the rows were locked. The head is looked for as in `WAKE`.
BEHIND: Final = """
SELECT c.id
FROM unnest(%(ids)b::bigint[], %(keys)b::text[]) AS c(id, ordering_key)
WHERE c.id > (
    SELECT o.id FROM $outbox AS o
    WHERE o.ordering_key >= c.ordering_key ORDER BY o.ordering_key, o.id LIMIT 1
)
"""

# Let rows behind an older one of their key wait, the longer the longer they already did: `WAKE` ends it. They count
# as leased, by their key. Short at first: whoever deletes the row before may have looked for the next one before that
# was committed, and then wakes nobody.
DEFER: Final = """
UPDATE $outbox AS o
SET due_at = w.until, leased_until = w.until
FROM (
    SELECT id, now() + greatest(interval '2 seconds', least(now() - created_at, interval '1 hour')) AS until
    FROM $outbox WHERE id = ANY(%(ids)b::bigint[])
) AS w
WHERE o.id = w.id
"""

# Lease locked rows, and read them.
LEASE: Final = """
UPDATE $outbox
SET due_at = now() + %(lease_s)s * interval '1 second', leased_until = now() + %(lease_s)s * interval '1 second'
WHERE id = ANY(%(ids)b::bigint[])
RETURNING
    id, message_id, exchange, routing_key, type, correlation_id, reply_to, headers, expiration_ms, body,
    ordering_key, needs_receipt, created_at, attempts, extract(epoch FROM clock_timestamp() - created_at)::float8,
    extract(epoch FROM now() - returned_since)::float8
"""

# Hand rows back to the sweep: what a relay leased.
RELEASE: Final = """
WITH held AS MATERIALIZED (
    SELECT id FROM $outbox
    WHERE id = ANY(%(ids)b::bigint[]) AND owner IS NULL AND parked_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE $outbox AS o
SET leased_until = NULL, due_at = now() + %(delay_s)s * interval '1 second', last_error = %(error)s,
    attempts = o.attempts + %(counts)s,
    returned_since = CASE WHEN %(returned)s THEN coalesce(o.returned_since, now()) ELSE o.returned_since END
FROM held
WHERE o.id = held.id
"""

# Hand rows over to the sweep: what an owner gives up. What a relay has taken over already is left to it.
DISOWN: Final = """
WITH held AS MATERIALIZED (
    SELECT id FROM $outbox WHERE id = ANY(%(ids)b::bigint[]) AND owner IS NOT NULL ORDER BY id FOR UPDATE
)
UPDATE $outbox AS o
SET owner = NULL, leased_until = NULL, due_at = now() + %(delay_s)s * interval '1 second', last_error = %(error)s,
    attempts = o.attempts + %(counts)s,
    returned_since = CASE WHEN %(returned)s THEN coalesce(o.returned_since, now()) ELSE o.returned_since END
FROM held
WHERE o.id = held.id
"""

# Confirmed, now awaiting its receipt (O1): sent again by any relay after a growing delay.
MARK_SENT: Final = """
WITH held AS MATERIALIZED (
    SELECT id FROM $outbox
    WHERE id = ANY(%(ids)b::bigint[]) AND needs_receipt AND parked_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE $outbox AS o
SET sent_at = now(), owner = NULL, leased_until = NULL, attempts = o.attempts + 1, returned_since = NULL,
    due_at = now() + least(%(first_s)s * power(2, least(o.attempts, 30)), %(longest_s)s) * interval '1 second'
FROM held
WHERE o.id = held.id
"""

# Set rows aside for an operator, by their own fault (O4).
PARK: Final = """
WITH held AS MATERIALIZED (
    SELECT id FROM $outbox WHERE id = ANY(%(ids)b::bigint[]) AND parked_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE $outbox AS o
SET parked_at = now(), owner = NULL, leased_until = NULL, last_error = %(error)s
FROM held
WHERE o.id = held.id
"""

# Let parked rows go again, as new; all of them if no ids are given.
RETRY_PARKED: Final = """
UPDATE $outbox
SET parked_at = NULL, attempts = 0, returned_since = NULL, due_at = now(), leased_until = NULL
WHERE parked_at IS NOT NULL AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
"""

# A page of what is parked.
PARKED: Final = """
SELECT id, message_id, exchange, routing_key, type, created_at, parked_at, attempts, last_error
FROM $outbox
WHERE parked_at IS NOT NULL AND id > %(after)s
ORDER BY id
LIMIT %(rows_max)s
"""

# What stands in the outbox. Rows that were never due yet are pending, but not old.
STATS: Final = """
SELECT
    count(*) FILTER (WHERE parked_at IS NULL AND sent_at IS NULL),
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (
        WHERE parked_at IS NULL AND sent_at IS NULL
        AND NOT (due_at > now() AND owner IS NULL AND leased_until IS NULL AND last_error IS NULL)
    )), 0)::float8,
    count(*) FILTER (WHERE parked_at IS NULL AND sent_at IS NOT NULL),
    count(*) FILTER (WHERE parked_at IS NOT NULL)
FROM $outbox
"""

# An owner lives.
BEAT: Final = """
INSERT INTO $owner (id, label, beat_at) VALUES (%(owner)s, %(label)s, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at
"""

# An owner goes: what it leaves behind is swept at once.
FORGET_OWNER: Final = "DELETE FROM $owner WHERE id = %(owner)s"

# A process that took a fresh owner id keeps the rows it knows to be committed.
ADOPT: Final = """
WITH held AS MATERIALIZED (
    SELECT id FROM $outbox WHERE id = ANY(%(ids)b::bigint[]) AND owner IS NOT NULL ORDER BY id FOR UPDATE
)
UPDATE $outbox AS o SET owner = %(owner)s
FROM held
WHERE o.id = held.id
"""

# Take rows from owners: all of a dead one's; of a living one's those older than the backstop, once they have been
# seen to be so for a while (`leased_until`), since a long transaction commits rows that are old at once.
# The distinct owners are found by hopping along the index.
DISOWN_DEAD: Final = """
WITH RECURSIVE holder AS (
    (SELECT owner FROM $outbox WHERE owner IS NOT NULL ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT o.owner FROM $outbox AS o WHERE o.owner > h.owner ORDER BY o.owner LIMIT 1)
    FROM holder AS h WHERE h.owner IS NOT NULL
), judged AS (
    SELECT h.owner, coalesce(w.beat_at > now() - %(dead_s)s * interval '1 second', FALSE) AS lives
    FROM holder AS h LEFT JOIN $owner AS w ON w.id = h.owner
    WHERE h.owner IS NOT NULL
), stale AS (
    SELECT r.id, j.lives AND (r.leased_until IS NULL OR r.leased_until > now()) AS spared, r.leased_until
    FROM judged AS j
    CROSS JOIN LATERAL (
        SELECT o.id, o.leased_until
        FROM $outbox AS o
        WHERE o.owner = j.owner
          AND o.created_at <= CASE WHEN j.lives THEN now() - %(backstop_s)s * interval '1 second' ELSE 'infinity' END
        ORDER BY o.created_at
        LIMIT %(rows_max)s
        FOR UPDATE SKIP LOCKED
    ) AS r
    LIMIT %(rows_max)s
), marked AS (
    UPDATE $outbox AS o SET leased_until = now() + %(grace_s)s * interval '1 second'
    FROM stale AS s WHERE o.id = s.id AND s.spared AND s.leased_until IS NULL
), taken AS (
    UPDATE $outbox AS o SET owner = NULL, leased_until = NULL, due_at = now()
    FROM stale AS s WHERE o.id = s.id AND NOT s.spared
    RETURNING o.id
)
SELECT count(*) FROM taken
"""

# Owners that died long ago and left nothing.
PRUNE_OWNERS: Final = """
DELETE FROM $owner AS w
WHERE w.beat_at < now() - %(dead_s)s * interval '1 second' - interval '1 hour'
  AND NOT EXISTS (SELECT 1 FROM $outbox AS o WHERE o.owner = w.id)
"""
