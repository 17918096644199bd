"""The barrier's SQL on MySQL and MariaDB, at READ COMMITTED (placeholders of pymysql).

Ids are 32 hexadecimal digits, times are UTC. An UPDATE sets columns from left to right, each seeing those before.
"""

from __future__ import annotations

from typing import Final

from amends.participants.barrier.statements import Statements

_KEY: Final = "saga_id = %(saga)s AND path = %(path)s AND op = %(op)s"
_NOW: Final = "utc_timestamp(6)"
_CUTOFF: Final = f"({_NOW} - INTERVAL CAST(%(retention_s)s * 1000000 AS SIGNED) MICROSECOND)"

# Wait at most so many seconds for another's lock. It belongs to the session: the worker's are its own.
LIMIT_SESSION: Final = "SET SESSION innodb_lock_wait_timeout = %(lock_timeout_s)s"

# Take the place of one op of one step, unless it is taken or the saga is too old to tell (B6). If another transaction
# is about to take it, this waits for that one's end and then decides.
# It touches what it meets: so it holds that row for itself at once, and answers with 2. IGNORE would share the row's
# lock, and two that then want it alone deadlock; an update that changes nothing answers with 1, as an insert does.
INSERT: Final = f"""
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls, at)
SELECT %(saga)s, %(path)s, %(op)s, %(round)s, %(stand)s, true, false, '', 0, {_NOW} FROM DUAL
WHERE %(started_s)s > unix_timestamp() - %(horizon_s)s
ON DUPLICATE KEY UPDATE at = amends_barrier.at + INTERVAL 1 MICROSECOND
"""

# The row that stands, not held.
READ: Final = f"""
SELECT round, outcome, certain, final, reason, args, result, calls,
       coalesce(timestampdiff(MICROSECOND, {_NOW}, leased_until) / 1e6, 0) AS lease_left_s,
       EXISTS (SELECT 1 FROM amends_lock WHERE amends_lock.saga_id = amends_barrier.saga_id AND slot = '') AS holds
FROM amends_barrier WHERE {_KEY}
"""

# The row that stands, held until this transaction ends.
LOCK: Final = f"{READ} FOR UPDATE"

# Whether the saga is too old for an insert, and whether the step is known all the same (B6): rows of a step are
# pruned together, and none ever stands without its do row.
KNOW: Final = """
SELECT %(started_s)s <= unix_timestamp() - %(horizon_s)s,
       EXISTS (SELECT 1 FROM amends_barrier WHERE saga_id = %(saga)s AND path = %(path)s AND op = 'do')
"""

SAVEPOINT: Final = "SAVEPOINT amends_handler"
RELEASE: Final = "RELEASE SAVEPOINT amends_handler"
ROLLBACK_TO: Final = "ROLLBACK TO SAVEPOINT amends_handler"

# Write what became of a held row.
SETTLE: Final = f"""
UPDATE amends_barrier
SET round = %(round)s, outcome = %(stand)s, certain = %(certain)s, final = %(final)s, reason = %(reason)s,
    args = %(args)s, result = %(result)s, calls = %(calls)s, lease_token = NULL, leased_until = NULL, at = {_NOW}
WHERE {_KEY}
"""

# No later round may run it (B3); a lapsed call becomes a refusal in doubt (B5). The outcome last: others ask for it.
FINALIZE: Final = f"""
UPDATE amends_barrier
SET certain = certain AND outcome <> 'calling',
    reason = CASE outcome WHEN 'calling' THEN %(reason)s ELSE reason END,
    final = true, lease_token = NULL, leased_until = NULL, at = {_NOW},
    outcome = CASE outcome WHEN 'calling' THEN 'refused' ELSE outcome END
WHERE {_KEY} AND outcome IN ('refused', 'calling')
"""

# The intent of an external call: it may be under way until the lease ends (B5).
LEASE: Final = f"""
UPDATE amends_barrier
SET round = %(round)s, outcome = 'calling', certain = true, final = false, reason = '', args = %(args)s, result = NULL,
    calls = %(calls)s, lease_token = %(token)s,
    leased_until = {_NOW} + INTERVAL CAST(%(lease_s)s * 1000000 AS SIGNED) MICROSECOND, at = {_NOW}
WHERE {_KEY}
"""

# Hold the row of one's own external call; no row if somebody else settled it or took it over.
OWN: Final = f"""
SELECT 1 FROM amends_barrier WHERE {_KEY} AND outcome = 'calling' AND lease_token = %(token)s FOR UPDATE
"""

# One's own external call failed: it stays in doubt, and may be made again at once.
END_LEASE: Final = f"""
UPDATE amends_barrier SET lease_token = NULL, leased_until = NULL, at = {_NOW}
WHERE {_KEY} AND outcome = 'calling' AND lease_token = %(token)s
"""

# Steps whose youngest row is past retention, a batch at a time (B6).
PRUNABLE: Final = f"""
SELECT DISTINCT old.saga_id, old.path FROM amends_barrier AS old
WHERE old.at < {_CUTOFF} AND NOT EXISTS (
    SELECT 1 FROM amends_barrier AS young
    WHERE young.saga_id = old.saga_id AND young.path = old.path
      AND (young.at >= {_CUTOFF} OR young.outcome = 'calling'))
LIMIT %(rows_max)s
"""

# Hold the rows of one such step, past what others hold, and tell whether each may still go.
HOLD: Final = f"""
SELECT op, at < {_CUTOFF} AND outcome <> 'calling' FROM amends_barrier
WHERE saga_id = %(saga)s AND path = %(path)s FOR UPDATE SKIP LOCKED
"""

# How many rows the step has.
COUNT: Final = "SELECT count(*) FROM amends_barrier WHERE saga_id = %(saga)s AND path = %(path)s"

# Delete one of the held rows: whoever comes while they are held may have a row of its own there already.
PRUNE: Final = f"DELETE FROM amends_barrier WHERE {_KEY}"

MYSQL: Final = Statements(
    uuid=lambda value: value.hex,
    limit_session=LIMIT_SESSION,
    limit_locks=None,
    insert_many=None,
    settle_many=None,
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
