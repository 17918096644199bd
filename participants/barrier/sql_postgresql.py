"""The barrier's SQL on PostgreSQL, at READ COMMITTED (psycopg placeholders)."""

from __future__ import annotations

from typing import Final

from amends.participants.barrier.statements import Statements

_KEY: Final = "saga_id = %(saga)s::uuid AND path = %(path)s AND op = %(op)s"

# Wait at most so long for another command's lock; for this transaction only.
LIMIT_LOCKS: Final = "SELECT set_config('lock_timeout', %(lock_timeout)s, true)"

# Take the place of one op of one step, unless it is taken or the saga is too old to tell (B6). If another
# transaction is about to take it, this waits for that one's end and then decides (READ COMMITTED).
INSERT: Final = """
WITH limits AS MATERIALIZED (SELECT set_config('lock_timeout', %(lock_timeout)s, true))
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls)
SELECT %(saga)s::uuid, %(path)s, %(op)s, %(round)s, %(stand)s, true, false, '', 0
FROM limits
WHERE %(started_s)s::float8 > extract(epoch FROM now()) - %(horizon_s)s::float8
ON CONFLICT (saga_id, path, op) DO NOTHING
"""

# Take the places of many new do commands, in the order of their keys, so that two batches never deadlock (B7).
INSERT_MANY: Final = """
WITH limits AS MATERIALIZED (SELECT set_config('lock_timeout', %(lock_timeout)s, true))
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls)
SELECT new.saga, new.path, 'do', new.round, 'calling', true, false, '', 0
FROM limits, unnest(%(sagas)s::uuid[], %(paths)s::text[], %(rounds)s::int[], %(started_s)s::float8[])
    AS new (saga, path, round, started_s)
WHERE new.started_s > extract(epoch FROM now()) - %(horizon_s)s::float8
ORDER BY new.saga, new.path
ON CONFLICT (saga_id, path, op) DO NOTHING
RETURNING saga_id, path
"""

# Write what became of many do commands whose rows were inserted in this transaction. Each row is there, so none is
# inserted: an UPDATE would be planned, and while the table's statistics are young, planned to read all of it for each.
SETTLE_MANY: Final = """
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, args, result, calls)
SELECT settled.saga, settled.path, 'do', settled.round, 'done', true, false, '', settled.args, settled.result, 0
FROM unnest(%(sagas)s::uuid[], %(paths)s::text[], %(rounds)s::int[], %(args)s::bytea[], %(results)s::bytea[])
    AS settled (saga, path, round, args, result)
ON CONFLICT (saga_id, path, op) DO UPDATE
SET outcome = excluded.outcome, args = excluded.args, result = excluded.result, at = excluded.at
"""

_COLUMNS: Final = """
round, outcome, certain, final, reason, args, result, calls,
coalesce(extract(epoch FROM leased_until - clock_timestamp())::float8, 0) AS lease_left_s,
EXISTS (SELECT 1 FROM amends_lock WHERE amends_lock.saga_id = amends_barrier.saga_id AND slot = '') AS holds
"""

# The row that stands, held until this transaction ends.
LOCK: Final = f"SELECT {_COLUMNS} FROM amends_barrier WHERE {_KEY} FOR UPDATE"

# The row that stands, not held.
READ: Final = f"SELECT {_COLUMNS} FROM amends_barrier WHERE {_KEY}"

# Whether the saga is too old for an insert, and whether the step is known all the same (B6): rows of a step are
# pruned together, and none ever stands without its do row.
KNOW: Final = """
SELECT %(started_s)s::float8 <= extract(epoch FROM now()) - %(horizon_s)s::float8,
       EXISTS (SELECT 1 FROM amends_barrier WHERE saga_id = %(saga)s::uuid AND path = %(path)s AND op = 'do')
"""

SAVEPOINT: Final = "SAVEPOINT amends_handler"
RELEASE: Final = "RELEASE SAVEPOINT amends_handler"
ROLLBACK_TO: Final = "ROLLBACK TO SAVEPOINT amends_handler"

# Write what became of a held row.
SETTLE: Final = f"""
UPDATE amends_barrier
SET round = %(round)s, outcome = %(stand)s, certain = %(certain)s, final = %(final)s, reason = %(reason)s,
    args = %(args)s, result = %(result)s, calls = %(calls)s, lease_token = NULL, leased_until = NULL, at = now()
WHERE {_KEY}
"""

# No later round may run it (B3); a lapsed call becomes a refusal in doubt (B5).
FINALIZE: Final = f"""
UPDATE amends_barrier
SET outcome = CASE outcome WHEN 'calling' THEN 'refused' ELSE outcome END,
    certain = certain AND outcome <> 'calling',
    reason = CASE outcome WHEN 'calling' THEN %(reason)s ELSE reason END,
    final = true, lease_token = NULL, leased_until = NULL, at = now()
WHERE {_KEY} AND outcome IN ('refused', 'calling')
"""

# The intent of an external call: it may be under way until the lease ends (B5).
LEASE: Final = f"""
UPDATE amends_barrier
SET round = %(round)s, outcome = 'calling', certain = true, final = false, reason = '', args = %(args)s, result = NULL,
    calls = %(calls)s, lease_token = %(token)s::uuid,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s), at = now()
WHERE {_KEY}
"""

# Hold the row of one's own external call; no row if somebody else settled it or took it over.
OWN: Final = f"""
SELECT 1 FROM amends_barrier WHERE {_KEY} AND outcome = 'calling' AND lease_token = %(token)s::uuid FOR UPDATE
"""

# One's own external call failed: it stays in doubt, and may be made again at once.
END_LEASE: Final = f"""
UPDATE amends_barrier SET lease_token = NULL, leased_until = NULL, at = now()
WHERE {_KEY} AND outcome = 'calling' AND lease_token = %(token)s::uuid
"""

# Hold the rows of steps whose youngest row is past retention, a batch of steps at a time (B6).
PRUNABLE: Final = """
SELECT saga_id, path FROM amends_barrier
WHERE (saga_id, path) IN (
    SELECT old.saga_id, old.path FROM amends_barrier old
    WHERE old.at < now() - make_interval(secs => %(retention_s)s)
      AND NOT EXISTS (
        SELECT 1 FROM amends_barrier young
        WHERE young.saga_id = old.saga_id AND young.path = old.path
          AND (young.at >= now() - make_interval(secs => %(retention_s)s) OR young.outcome = 'calling'))
    ORDER BY old.at LIMIT %(rows_max)s)
ORDER BY saga_id, path, op
FOR UPDATE SKIP LOCKED
"""

# Delete the steps whose rows are all held, unless one of them grew younger meanwhile.
PRUNE: Final = """
DELETE FROM amends_barrier
USING unnest(%(sagas)s::uuid[], %(paths)s::text[], %(counts)s::int[]) AS held (saga, path, rows)
WHERE saga_id = held.saga AND amends_barrier.path = held.path
  AND held.rows = (SELECT count(*) FROM amends_barrier every
                   WHERE every.saga_id = held.saga AND every.path = held.path)
  AND NOT EXISTS (SELECT 1 FROM amends_barrier young
                  WHERE young.saga_id = held.saga AND young.path = held.path
                    AND (young.at >= now() - make_interval(secs => %(retention_s)s) OR young.outcome = 'calling'))
"""

POSTGRESQL: Final = Statements(
    uuid=str,
    limit_session=None,
    limit_locks=LIMIT_LOCKS,
    insert_many=INSERT_MANY,
    settle_many=SETTLE_MANY,
    insert=INSERT,
    lock=LOCK,
    read=READ,
    know=KNOW,
    savepoint=SAVEPOINT,
    release=RELEASE,
    rollback_to=ROLLBACK_TO,
    settle=SETTLE,
    finalize=FINALIZE,
    lease=LEASE,
    own=OWN,
    end_lease=END_LEASE,
    prunable=PRUNABLE,
    prune=PRUNE,
)
