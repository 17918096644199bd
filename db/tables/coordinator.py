"""The coordinator's tables, in schema `amends` of its PostgreSQL database.

Constraints repeat the machine's rules (`docs/machine.md`): what the machine must never reach, the database refuses.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from amends.db.tables.outbox import outbox_table, owner_table
from amends.db.tables.storage import HOT, LIVING, QUEUE, keep_small

SCHEMA = "amends"
metadata = MetaData(schema=SCHEMA)

outbox = outbox_table("outbox", metadata, SCHEMA)
owner = owner_table("owner", metadata, SCHEMA)

# A saga definition as registered: never changed, but for which version new sagas take.
definition = Table(
    "definition",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("registered_by", String(120), nullable=False),
    CheckConstraint("version >= 1", name="ck_definition_version"),
    Index("ux_definition_active", "name", unique=True, postgresql_where=text("active")),
)

# Names whose starts wait; the row stays, with `resumed_at`, when they begin again.
suspension = Table(
    "suspension",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("suspended_by", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("resumed_at", DateTime(timezone=True)),
    CheckConstraint("resumed_at >= since", name="ck_suspension_resumed"),
)

# One saga's header. Times the machine reads are milliseconds since 1970 in database time, so that a replay
# of the log gives exactly the stored state; `created_at` and `ended_at` say the same to people and to pruning.
#
#   running --failed before the pivot--> compensating --> compensated
#   running --> completed                running | compensating <--> stuck        (start not accepted) --> rejected
#   (a signal or a parent's order came before the start) --> placeholder --start--> any of the above
#
# A placeholder keeps what came early, in `head`, and holds the id: start and signal meet at one row (S1, K3). It is no
# saga: nothing counts it, nothing shows it.
saga = Table(
    "saga",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(120), nullable=False),
    Column("version", Integer, nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("backwards", Boolean, nullable=False),
    Column("key", String(255)),
    Column("labels", JSONB, nullable=False, server_default="{}"),
    Column("input", JSON, nullable=False),
    Column("input_hash", String(64), nullable=False),
    Column("start_message", String(64), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("clock_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger),
    Column("seq", Integer, nullable=False),
    Column("head", JSON, nullable=False),
    Column("stuck_steps", JSON),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("parent_id", Uuid),
    CheckConstraint(
        "status IN ('running', 'compensating', 'completed', 'compensated', 'stuck', 'rejected', 'placeholder')",
        name="ck_saga_status",
    ),
    CheckConstraint(
        "(ended_at IS NOT NULL) = (status IN ('completed', 'compensated', 'rejected'))", name="ck_saga_ended"
    ),
    CheckConstraint(
        "(status IN ('compensating', 'compensated')) <= backwards"
        " AND (status IN ('running', 'completed')) <= (NOT backwards)",
        name="ck_saga_direction",
    ),
    CheckConstraint("(status = 'stuck') <= (stuck_steps IS NOT NULL)", name="ck_saga_stuck_says_where"),
    CheckConstraint("clock_ms >= started_ms", name="ck_saga_clock"),
    Index("ix_saga_live", "status", "created_at", postgresql_where=text("ended_at IS NULL")),
    Index("ix_saga_version", "name", "version", postgresql_where=text("ended_at IS NULL")),
    Index("ix_saga_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    Index("ix_saga_list", "created_at", "id"),
    Index("ix_saga_name", "name", "status", "created_at", "id"),
    Index("ix_saga_labels", "labels", postgresql_using="gin"),
    Index("ix_saga_parent", "parent_id", "created_at", postgresql_where=text("parent_id IS NOT NULL")),
    Index("ix_saga_placeholder", "created_at", postgresql_where=text("status = 'placeholder'")),
)

# One step instance of a saga; `phase` is what happens with its current `op`, `did` what is known of its `do`.
step = Table(
    "step",
    metadata,
    Column("saga_id", Uuid, ForeignKey("amends.saga.id", ondelete="CASCADE"), primary_key=True),
    Column("path", String(300), primary_key=True),
    Column("node", String(120), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("op", String(16), nullable=False),
    Column("closes", String(16)),
    Column("round", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("spent", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),
    Column("did", String(16), nullable=False),
    Column("result", JSON),
    Column("error", Text),
    Column("extra", JSON),
    CheckConstraint(
        "phase IN ('parked', 'awaiting', 'backoff', 'settled', 'stuck', 'waiting')", name="ck_step_phase"
    ),
    CheckConstraint("op IN ('do', 'undo', 'confirm', 'fence')", name="ck_step_op"),
    CheckConstraint("closes IS NULL OR op = 'fence'", name="ck_step_closes"),
    CheckConstraint(
        "phase = 'waiting' OR (due_ms IS NOT NULL) = (phase IN ('awaiting', 'backoff'))", name="ck_step_due"
    ),
    CheckConstraint("phase <> 'awaiting' OR attempt >= 1", name="ck_step_awaiting_was_sent"),
    CheckConstraint("phase <> 'stuck' OR error IS NOT NULL", name="ck_step_stuck_says_why"),
    CheckConstraint(
        "did IN ('unsent', 'unknown', 'done', 'refused', 'in_doubt', 'never', 'skipped', 'forced')",
        name="ck_step_did",
    ),
    Index("ix_step_parked", "queue", postgresql_where=text("phase = 'parked'")),
    Index("ix_step_out", "queue", postgresql_where=text("phase IN ('awaiting', 'backoff')")),
)

# Every event that changed something, in the order in which it did (invariant 10).
log = Table(
    "saga_log",
    metadata,
    Column("saga_id", Uuid, ForeignKey("amends.saga.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("event", JSON, nullable=False),
)

# One row per thing that is due: a step's attempt or back-off (its path), or the saga's deadline (path '').
# `token` and `leased_until` are a coordinator's claim (E3). `held_since`: since then it is re-armed
# unspent, because its queue's breaker is open or its command is still in the outbox (M4, M6).
timer = Table(
    "timer",
    metadata,
    Column("saga_id", Uuid, primary_key=True),
    Column("path", String(300), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("queue", String(255)),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("timeout_ms", BigInteger, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("outbox_id", BigInteger),
    Column("held_since", DateTime(timezone=True)),
    Column("token", Uuid),
    Column("leased_until", DateTime(timezone=True)),
    ForeignKeyConstraint(["saga_id"], ["amends.saga.id"], ondelete="CASCADE", name="fk_timer_saga"),
    CheckConstraint("(token IS NULL) = (leased_until IS NULL)", name="ck_timer_lease"),
    Index("ix_timer_due", "due_at"),
)

# One circuit breaker per command queue, shared by every coordinator (M6).
breaker = Table(
    "breaker",
    metadata,
    Column("queue", String(255), primary_key=True),
    Column("state", String(16), nullable=False, server_default="closed"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("opened_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("probe_until", DateTime(timezone=True)),
    Column("probes", Integer, nullable=False, server_default="0"),
    CheckConstraint("state IN ('closed', 'open')", name="ck_breaker_state"),
    CheckConstraint("(state = 'open') = (opened_at IS NOT NULL)", name="ck_breaker_opened"),
)

# Ids that may never become a saga again: pruned ones (S3).
spent_id = Table(
    "spent_id",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("input_hash", String(64), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Start messages that were rejected: a late copy of one changes nothing (S2).
refused_start = Table(
    "refused_start",
    metadata,
    Column("saga_id", Uuid, primary_key=True),
    Column("message_id", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Start messages of versions that are not registered: they come again for an hour, by our clock (S2). Pruned by age.
unknown_start = Table(
    "unknown_start",
    metadata,
    Column("saga_id", Uuid, primary_key=True),
    Column("message_id", String(64), primary_key=True),
    Column("first_seen", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_unknown_start_first_seen", "first_seen"),
)

# A saga that is started by the clock (S4). `next_due` is set by who fires it, in the transaction that starts the saga.
# `last_error` is why the last run could not be started, until one can.
schedule = Table(
    "schedule",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", String(120), nullable=False, unique=True),
    Column("cron", String(200), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("saga", String(120), nullable=False),
    Column("version", Integer),
    Column("input", JSON, nullable=False),
    Column("labels", JSONB, nullable=False, server_default="{}"),
    Column("missed", String(8), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("created_by", String(120), nullable=False),
    Column("paused_at", DateTime(timezone=True)),
    Column("next_due", DateTime(timezone=True), nullable=False),
    Column("last_due", DateTime(timezone=True)),
    Column("last_saga", Uuid),
    Column("last_error", Text),
    Column("failed_at", DateTime(timezone=True)),
    Column("fired_runs", BigInteger, nullable=False, server_default="0"),
    Column("missed_runs", BigInteger, nullable=False, server_default="0"),
    Column("failed_runs", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("missed IN ('skip', 'once', 'all')", name="ck_schedule_missed"),
    CheckConstraint("(last_error IS NULL) = (failed_at IS NULL)", name="ck_schedule_error"),
    CheckConstraint("(last_due IS NULL) = (last_saga IS NULL)", name="ck_schedule_last"),
    Index("ix_schedule_due", "next_due", postgresql_where=text("paused_at IS NULL")),
)

# What operators did, with what came of it. Outlives the saga.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor", String(120), nullable=False),
    Column("act", String(32), nullable=False),
    Column("saga_id", Uuid),
    Column("path", String(300)),
    Column("reason", Text, nullable=False),
    Column("details", JSON),
    # `amends audit` lists the last first, by any of these.
    Index("ix_audit_saga", "saga_id"),
    Index("ix_audit_at", "at", "id"),
    Index("ix_audit_actor", "actor", "at", "id"),
    Index("ix_audit_act", "act", "at", "id"),
)

# Events that could not be processed, alone and three times over (E2).
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("saga_id", Uuid),
    Column("message_id", String(64)),
    Column("type", String(255), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
)

for _table, _parameters in ((saga, LIVING), (step, LIVING), (timer, QUEUE), (breaker, HOT), (schedule, HOT)):
    keep_small(_table, _parameters)
