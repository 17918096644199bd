"""The engine's statements on PostgreSQL: one per kind of row and batch (E1), rows as arrays through `unnest`.

Lock order: standing sagas in id order, then timers. A batch inserts its new sagas, in id order, before it locks those
that stand (decision 0004), so two batches may meet crosswise: one of them gets 40P01 and is run again.
"""

from __future__ import annotations

# What time it is: the database's clock, in ms since 1970. Every coordinator reads the same one.
NOW_MS = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"

_SAGA_COLUMNS = """id, name, version, format, status, backwards, input::text, labels::text, input_hash, start_message,
       started_ms, clock_ms, deadline_ms, seq, head::text"""

# Lock standing sagas in id order (E1), and tell by which of them nobody else has moved: the others are read then.
LOCK_HEADS = """
    SELECT id, format, status, seq, clock_ms, deadline_ms, started_ms,
        CASE WHEN status = 'placeholder' THEN head::text END AS head
    FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
"""

# The headers of sagas that this transaction has locked.
READ_SAGAS = f"""
    SELECT {_SAGA_COLUMNS}
    FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id
"""

# Lock and read whole headers.
LOCK_SAGAS = f"""
    SELECT {_SAGA_COLUMNS}
    FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
"""

# New sagas, as they stand after their first event. Waits for a concurrent insert of the same id, then yields (S1).
INSERT_SAGAS = """
    INSERT INTO amends.saga (id, name, version, format, status, backwards, key, labels, input, input_hash,
        start_message, started_ms, clock_ms, deadline_ms, seq, head, stuck_steps, error, created_at, ended_at,
        parent_id)
    SELECT id, name, version, format, status, backwards, key, labels::jsonb, input::json, input_hash,
        start_message, started_ms, clock_ms, deadline_ms, seq, head::json, stuck_steps::json, error,
        to_timestamp(started_ms / 1000.0), to_timestamp(ended_ms / 1000.0), parent_id
    FROM unnest(%(id)s::uuid[], %(name)s::text[], %(version)s::int[], %(format)s::smallint[], %(status)s::text[],
        %(backwards)s::bool[], %(key)s::text[], %(labels)s::text[], %(input)s::text[], %(input_hash)s::text[],
        %(start_message)s::text[], %(started_ms)s::bigint[], %(clock_ms)s::bigint[], %(deadline_ms)s::bigint[],
        %(seq)s::int[], %(head)s::text[], %(stuck_steps)s::text[], %(error)s::text[], %(ended_ms)s::bigint[],
        %(parent_id)s::uuid[])
        AS new (id, name, version, format, status, backwards, key, labels, input, input_hash, start_message,
            started_ms, clock_ms, deadline_ms, seq, head, stuck_steps, error, ended_ms, parent_id)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""

# What an event changed of standing sagas.
UPDATE_SAGAS = """
    UPDATE amends.saga AS saga SET status = new.status, backwards = new.backwards, clock_ms = new.clock_ms,
        deadline_ms = new.deadline_ms, seq = new.seq, head = new.head::json, stuck_steps = new.stuck_steps::json,
        error = new.error, ended_at = to_timestamp(new.ended_ms / 1000.0), format = new.format
    FROM unnest(%(id)s::uuid[], %(status)s::text[], %(backwards)s::bool[], %(clock_ms)s::bigint[],
        %(deadline_ms)s::bigint[], %(seq)s::int[], %(head)s::text[], %(stuck_steps)s::text[], %(error)s::text[],
        %(ended_ms)s::bigint[], %(format)s::smallint[])
        AS new (id, status, backwards, clock_ms, deadline_ms, seq, head, stuck_steps, error, ended_ms, format)
    WHERE saga.id = new.id
"""

_STEP_COLUMNS = """saga_id, path, node, queue, phase, op, closes, round, attempt, spent, since_ms, due_ms, did,
        result::text, error, extra::text"""

# All step instances of some sagas.
LOAD_STEPS = f"""
    SELECT {_STEP_COLUMNS}
    FROM amends.step WHERE saga_id = ANY(%(ids)s::uuid[])
"""

# Of sagas without `each` all step instances; of the others those that are named, and where it is asked for all that
# are not settled. Each name is looked up by itself: whatever the statistics say, no saga's ten thousand rows are read.
LOAD_SOME_STEPS = f"""
    SELECT {_STEP_COLUMNS} FROM amends.step WHERE saga_id = ANY(%(whole)s::uuid[])
    UNION ALL
    SELECT {_STEP_COLUMNS} FROM amends.step WHERE saga_id = ANY(%(open)s::uuid[]) AND phase <> 'settled'
    UNION ALL
    SELECT one.* FROM unnest(%(saga_id)s::uuid[], %(path)s::text[]) AS named (of_saga, of_path)
    CROSS JOIN LATERAL (
        SELECT {_STEP_COLUMNS} FROM amends.step WHERE saga_id = named.of_saga AND path = named.of_path LIMIT 1
    ) AS one
"""

SAVE_STEPS = """
    INSERT INTO amends.step (saga_id, path, node, queue, phase, op, closes, round, attempt, spent, since_ms, due_ms,
        did, result, error, extra)
    SELECT saga_id, path, node, queue, phase, op, closes, round, attempt, spent, since_ms, due_ms, did,
        result::json, error, extra::json
    FROM unnest(%(saga_id)s::uuid[], %(path)s::text[], %(node)s::text[], %(queue)s::text[], %(phase)s::text[],
        %(op)s::text[], %(closes)s::text[], %(round)s::int[], %(attempt)s::int[], %(spent)s::int[],
        %(since_ms)s::bigint[], %(due_ms)s::bigint[], %(did)s::text[], %(result)s::text[], %(error)s::text[],
        %(extra)s::text[])
        AS new (saga_id, path, node, queue, phase, op, closes, round, attempt, spent, since_ms, due_ms, did, result,
            error, extra)
    ON CONFLICT (saga_id, path) DO UPDATE SET queue = excluded.queue, phase = excluded.phase, op = excluded.op,
        closes = excluded.closes, round = excluded.round, attempt = excluded.attempt, spent = excluded.spent,
        since_ms = excluded.since_ms, due_ms = excluded.due_ms, did = excluded.did, result = excluded.result,
        error = excluded.error, extra = excluded.extra
"""

APPEND_LOG = """
    INSERT INTO amends.saga_log (saga_id, seq, at_ms, event)
    SELECT saga_id, seq, at_ms, event::json
    FROM unnest(%(saga_id)s::uuid[], %(seq)s::int[], %(at_ms)s::bigint[], %(event)s::text[])
        AS new (saga_id, seq, at_ms, event)
"""

# Arming replaces whatever stood for the step, a claim included: who holds the claim finds it gone (E3).
ARM_TIMERS = """
    INSERT INTO amends.timer AS timer (saga_id, path, attempt, queue, due_at, timeout_ms, sent_at, outbox_id)
    SELECT saga_id, path, attempt, queue, to_timestamp(due_ms / 1000.0), timeout_ms, now(), outbox_id
    FROM unnest(%(saga_id)s::uuid[], %(path)s::text[], %(attempt)s::int[], %(queue)s::text[], %(due_ms)s::bigint[],
        %(timeout_ms)s::bigint[], %(outbox_id)s::bigint[])
        AS new (saga_id, path, attempt, queue, due_ms, timeout_ms, outbox_id)
    ORDER BY saga_id, path
    ON CONFLICT (saga_id, path) DO UPDATE SET attempt = excluded.attempt, queue = excluded.queue,
        due_at = excluded.due_at, timeout_ms = excluded.timeout_ms, sent_at = excluded.sent_at,
        outbox_id = excluded.outbox_id, held_since = NULL, token = NULL, leased_until = NULL
"""

DISARM_TIMERS = """
    DELETE FROM amends.timer AS timer
    USING unnest(%(saga_id)s::uuid[], %(path)s::text[]) AS gone (saga_id, path)
    WHERE timer.saga_id = gone.saga_id AND timer.path = gone.path
"""

DISARM_SAGAS = "DELETE FROM amends.timer WHERE saga_id = ANY(%(ids)s::uuid[])"

# Whether any timer is due, whoever holds it. The order ties it to its index.
LOOK_AT_TIMERS = "SELECT 1 FROM amends.timer WHERE due_at <= now() ORDER BY due_at LIMIT 1"

# Lease what is due, oldest first; another coordinator skips it until the lease ends (E3).
CLAIM_TIMERS = """
    UPDATE amends.timer AS timer SET token = %(token)s::uuid, leased_until = now() + %(lease_s)s * interval '1 second'
    FROM (
        SELECT saga_id, path FROM amends.timer
        WHERE due_at <= now() AND (leased_until IS NULL OR leased_until < now())
        ORDER BY due_at LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE timer.saga_id = due.saga_id AND timer.path = due.path
    RETURNING timer.saga_id, timer.path
"""

# The claimed timers of this batch, once their sagas are locked. A claim that is gone has nothing to say (E3).
# `unsent` tells whether the command is still in the outbox: then its timeout has not begun (M4).
HELD_TIMERS = """
    SELECT timer.saga_id, timer.path, timer.attempt, timer.queue, timer.timeout_ms,
        (extract(epoch FROM timer.due_at) * 1000)::bigint, (extract(epoch FROM timer.sent_at) * 1000)::bigint,
        (extract(epoch FROM timer.held_since) * 1000)::bigint,
        EXISTS (SELECT 1 FROM amends.outbox WHERE outbox.id = timer.outbox_id AND outbox.sent_at IS NULL) AS unsent
    FROM amends.timer AS timer
    JOIN unnest(%(saga_id)s::uuid[], %(path)s::text[], %(token)s::uuid[]) AS mine (saga_id, path, token)
        ON timer.saga_id = mine.saga_id AND timer.path = mine.path AND timer.token = mine.token
    FOR UPDATE OF timer
"""

# Due again later, unspent: no event, so no policy counts it.
HOLD_TIMERS = """
    UPDATE amends.timer AS timer SET due_at = to_timestamp(held.due_ms / 1000.0), token = NULL, leased_until = NULL,
        held_since = coalesce(timer.held_since, timer.due_at)
    FROM unnest(%(saga_id)s::uuid[], %(path)s::text[], %(due_ms)s::bigint[]) AS held (saga_id, path, due_ms)
    WHERE timer.saga_id = held.saga_id AND timer.path = held.path
"""

# Moved by an operator: the same attempt is due then. A claim is gone, as with arming; what was sent stays known.
MOVE_TIMERS = """
    UPDATE amends.timer AS timer SET due_at = to_timestamp(moved.due_ms / 1000.0), held_since = NULL, token = NULL,
        leased_until = NULL
    FROM unnest(%(saga_id)s::uuid[], %(path)s::text[], %(due_ms)s::bigint[]) AS moved (saga_id, path, due_ms)
    WHERE timer.saga_id = moved.saga_id AND timer.path = moved.path
"""

# A command was confirmed late: its timeout runs from the confirm (M4), unless an operator moved it further.
POSTPONE_TIMERS = """
    UPDATE amends.timer AS timer
    SET due_at = greatest(timer.due_at, now() + timer.timeout_ms * interval '1 millisecond')
    FROM (
        SELECT timer.saga_id, timer.path FROM amends.timer AS timer
        JOIN unnest(%(saga_id)s::uuid[], %(path)s::text[], %(attempt)s::int[]) AS late (saga_id, path, attempt)
            ON timer.saga_id = late.saga_id AND timer.path = late.path AND timer.attempt = late.attempt
        WHERE timer.token IS NULL
        ORDER BY timer.saga_id, timer.path FOR UPDATE OF timer
    ) AS late
    WHERE timer.saga_id = late.saga_id AND timer.path = late.path
"""

# The breaker closed: what waited for it is due now, spread over a second so that it does not come as one blow.
RELEASE_TIMERS = """
    UPDATE amends.timer SET due_at = now() + random() * interval '1 second'
    WHERE queue = %(queue)s AND held_since IS NOT NULL AND token IS NULL
"""

# Of ids that were just inserted those that may not be: pruned ones, and by these messages refused ones, whose reason it
# gives. Asked after the insert, which waited for the pruner (S2, S3).
GONE_IDS = """
    SELECT id, NULL AS reason FROM amends.spent_id WHERE id = ANY(%(ids)s::uuid[])
    UNION ALL
    SELECT refused.saga_id, refused.reason FROM amends.refused_start AS refused
    JOIN unnest(%(ids)s::uuid[], %(messages)s::text[]) AS new (id, message)
        ON refused.saga_id = new.id AND refused.message_id = new.message
"""

# Ids that were pruned may never become a saga again (S3); asked after the insert, which waited for the pruner.
SPENT_IDS = "SELECT id, input_hash FROM amends.spent_id WHERE id = ANY(%(ids)s::uuid[])"
DELETE_SAGAS = "DELETE FROM amends.saga WHERE id = ANY(%(ids)s::uuid[])"

REFUSED_BEFORE = (
    "SELECT reason FROM amends.refused_start WHERE saga_id = %(id)s::uuid AND message_id = %(message_id)s"
)
REMEMBER_REFUSED = """
    INSERT INTO amends.refused_start (saga_id, message_id, reason) VALUES (%(id)s::uuid, %(message_id)s, %(reason)s)
    ON CONFLICT DO NOTHING
"""

# When a coordinator first saw this start of an unknown version: now, unless one did before.
FIRST_SEEN = """
    INSERT INTO amends.unknown_start AS seen (saga_id, message_id) VALUES (%(id)s::uuid, %(message_id)s)
    ON CONFLICT (saga_id, message_id) DO UPDATE SET first_seen = seen.first_seen
    RETURNING (extract(epoch FROM first_seen) * 1000)::bigint
"""

# Long accepted or rejected, some at a time. One that comes still later has its hour once more.
PRUNE_UNKNOWN = """
    DELETE FROM amends.unknown_start WHERE (saga_id, message_id) IN (
        SELECT saga_id, message_id FROM amends.unknown_start
        WHERE first_seen < now() - %(age_s)s * interval '1 second'
        ORDER BY first_seen LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    )
"""

# Whether a saga that has ended took a signal, by one of the waits that it may have been for.
TOOK = """
    SELECT 1 FROM amends.step
    WHERE saga_id = %(id)s::uuid AND path = ANY(%(paths)s) AND extra->>'took' = %(message_id)s LIMIT 1
"""

# Where news of ended sagas waits to be sent, or to be receipted.
TOLD_QUEUES = "SELECT DISTINCT routing_key FROM amends.outbox WHERE type = 'amends.finished'"

AUDIT = """
    INSERT INTO amends.audit (actor, act, saga_id, path, reason, details)
    VALUES (%(actor)s, %(act)s, %(saga_id)s::uuid, %(path)s, %(reason)s, %(details)s::json)
"""

QUARANTINE = """
    INSERT INTO amends.quarantine (saga_id, message_id, type, body, error)
    VALUES (%(saga_id)s::uuid, %(message_id)s, %(type)s, %(body)s, %(error)s)
"""

# Ended sagas past their retention, some at a time; their ids outlive them (S3, E5). A rejected start owns no key: only
# the messages that were refused may not come again (S2), but a call's id is its parent's, and told of once (K6).
PRUNE = """
    WITH old AS (
        SELECT id, input_hash, status <> 'rejected' OR parent_id IS NOT NULL AS owned FROM amends.saga
        WHERE ended_at < now() - %(retention_s)s * interval '1 second' AND NOT EXISTS (
            SELECT 1 FROM amends.saga AS parent WHERE parent.id = saga.parent_id AND parent.ended_at IS NULL
        )
        ORDER BY ended_at LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
    ), spent AS (
        INSERT INTO amends.spent_id (id, input_hash) SELECT id, input_hash FROM old WHERE owned
        ON CONFLICT (id) DO NOTHING
    )
    DELETE FROM amends.saga USING old WHERE saga.id = old.id
"""
