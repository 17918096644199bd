"""The barrier's SQL on SQLite: a transaction begins IMMEDIATE, so that it is alone and needs no row locks.

Ids are 32 hexadecimal digits and times are UTC text, as SQLAlchemy stores them.
"""

from __future__ import annotations

from typing import Final

from amends.participants.barrier.statements import Statements

_KEY: Final = "saga_id = :saga AND path = :path AND op = :op"
_NOW: Final = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
_EPOCH_S: Final = "((julianday('now') - 2440587.5) * 86400.0)"
_CUTOFF: Final = "strftime('%Y-%m-%d %H:%M:%f', julianday('now') - :retention_s / 86400.0)"

# Take the place of one op of one step, unless it is taken or the saga is too old to tell (B6).
INSERT: Final = f"""
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls, at)
SELECT :saga, :path, :op, :round, :stand, 1, 0, '', 0, {_NOW}
WHERE :started_s > {_EPOCH_S} - :horizon_s
ON CONFLICT (saga_id, path, op) DO NOTHING
"""

# The row that stands.
READ: Final = f"""
SELECT round, outcome, certain, final, reason, args, result, calls,
       coalesce((julianday(leased_until) - julianday('now')) * 86400.0, 0) AS lease_left_s,
EXISTS (SELECT 1 FROM amends_lock WHERE amends_lock.saga_id = amends_barrier.saga_id AND slot = '') AS holds
FROM amends_barrier WHERE {_KEY}
"""

# Whether the saga is too old for an insert, and whether the step is known all the same (B6): rows of a step are
# pruned together, and none ever stands without its do row.
KNOW: Final = f"""
SELECT :started_s <= {_EPOCH_S} - :horizon_s,
       EXISTS (SELECT 1 FROM amends_barrier WHERE saga_id = :saga AND path = :path AND op = 'do')
"""

SAVEPOINT: Final = "SAVEPOINT amends_handler"
RELEASE: Final = "RELEASE SAVEPOINT amends_handler"
ROLLBACK_TO: Final = "ROLLBACK TO SAVEPOINT amends_handler"

# Write what became of a held row.
SETTLE: Final = f"""
UPDATE amends_barrier
SET round = :round, outcome = :stand, certain = :certain, final = :final, reason = :reason,
    args = :args, result = :result, calls = :calls, lease_token = NULL, leased_until = NULL, at = {_NOW}
WHERE {_KEY}
"""

# No later round may run it (B3); a lapsed call becomes a refusal in doubt (B5).
FINALIZE: Final = f"""
UPDATE amends_barrier
SET outcome = CASE outcome WHEN 'calling' THEN 'refused' ELSE outcome END,
    certain = certain AND outcome <> 'calling',
    reason = CASE outcome WHEN 'calling' THEN :reason ELSE reason END,
    final = 1, lease_token = NULL, leased_until = NULL, at = {_NOW}
WHERE {_KEY} AND outcome IN ('refused', 'calling')
"""

# The intent of an external call: it may be under way until the lease ends (B5).
LEASE: Final = f"""
UPDATE amends_barrier
SET round = :round, outcome = 'calling', certain = 1, final = 0, reason = '', args = :args, result = NULL,
    calls = :calls, lease_token = :token,
    leased_until = strftime('%Y-%m-%d %H:%M:%f', julianday('now') + :lease_s / 86400.0), at = {_NOW}
WHERE {_KEY}
"""

# The row of one's own external call; no row if somebody else settled it or took it over.
OWN: Final = f"SELECT 1 FROM amends_barrier WHERE {_KEY} AND outcome = 'calling' AND lease_token = :token"

# One's own external call failed: it stays in doubt, and may be made again at once.
END_LEASE: Final = f"""
UPDATE amends_barrier SET lease_token = NULL, leased_until = NULL, at = {_NOW}
WHERE {_KEY} AND outcome = 'calling' AND lease_token = :token
"""

_YOUNG: Final = f"""
SELECT 1 FROM amends_barrier young
WHERE young.saga_id = amends_barrier.saga_id AND young.path = amends_barrier.path
  AND (young.at >= {_CUTOFF} OR young.outcome = 'calling')
"""

# Steps whose youngest row is past retention, a batch at a time (B6).
PRUNABLE: Final = f"""
SELECT DISTINCT saga_id, path FROM amends_barrier
WHERE at < {_CUTOFF} AND NOT EXISTS ({_YOUNG})
LIMIT :rows_max
"""

# Delete one such step.
PRUNE: Final = "DELETE FROM amends_barrier WHERE saga_id = :saga AND path = :path"

SQLITE: Final = Statements(
    uuid=lambda value: value.hex,
    # The busy timeout of the connection did that when the transaction began.
    limit_session=None,
    limit_locks=None,
    insert_many=None,
    settle_many=None,
    insert=INSERT,
    lock=READ,
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
