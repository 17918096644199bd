"""Create the coordinator's tables.

Revision: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
SCHEMA = "amends"

# O8: vacuum busy tables after so many dead rows, not after a share of the table.
_LIVING = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, fillfactor = 75"
)
_QUEUE = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000, "
    "autovacuum_vacuum_cost_delay = 0, fillfactor = 90"
)
_HOT = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, fillfactor = 30"


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("act", sa.String(length=32), nullable=False),
        sa.Column("saga_id", sa.Uuid(), nullable=True),
        sa.Column("path", sa.String(length=300), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index("ix_audit_saga", "audit", ["saga_id"], unique=False, schema=SCHEMA)
    op.create_table(
        "breaker",
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="closed", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probes", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("(state = 'open') = (opened_at IS NOT NULL)", name="ck_breaker_opened"),
        sa.CheckConstraint("state IN ('closed', 'open')", name="ck_breaker_state"),
        sa.PrimaryKeyConstraint("queue"),
        schema=SCHEMA,
    )
    op.create_table(
        "definition",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("body", postgresql.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("registered_by", sa.String(length=120), nullable=False),
        sa.CheckConstraint("version >= 1", name="ck_definition_version"),
        sa.PrimaryKeyConstraint("name", "version"),
        schema=SCHEMA,
    )
    op.create_index(
        "ux_definition_active",
        "definition",
        ["name"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("exchange", sa.String(length=255), server_default="", nullable=False),
        sa.Column("routing_key", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("correlation_id", sa.String(length=255), nullable=True),
        sa.Column("reply_to", sa.String(length=255), nullable=True),
        sa.Column("headers", sa.Text(), server_default="{}", nullable=False),
        sa.Column("expiration_ms", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("ordering_key", sa.String(length=255), nullable=True),
        sa.Column("needs_receipt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("returned_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("owner IS NULL OR ordering_key IS NULL", name="ck_outbox_keyed_has_no_owner"),
        sa.CheckConstraint("parked_at IS NULL OR last_error IS NOT NULL", name="ck_outbox_parked_says_why"),
        sa.CheckConstraint("sent_at IS NULL OR needs_receipt", name="ck_outbox_sent_needs_receipt"),
        sa.CheckConstraint("sent_at IS NULL OR owner IS NULL", name="ck_outbox_sent_has_no_owner"),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_outbox_keyed",
        "outbox",
        ["ordering_key", "id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("ordering_key IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_owned",
        "outbox",
        ["owner", "created_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_unowned",
        "outbox",
        ["due_at", "id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("owner IS NULL AND parked_at IS NULL"),
    )
    op.create_table(
        "owner",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("saga_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.String(length=64), nullable=True),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_table(
        "refused_start",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "message_id"),
        schema=SCHEMA,
    )
    op.create_table(
        "saga",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("backwards", sa.Boolean(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("labels", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("input", postgresql.JSON(), nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("start_message", sa.String(length=64), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("head", postgresql.JSON(), nullable=False),
        sa.Column("stuck_steps", postgresql.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (status IN ('completed', 'compensated', 'rejected'))",
            name="ck_saga_ended",
        ),
        sa.CheckConstraint(
            "(status = 'stuck') <= (stuck_steps IS NOT NULL)", name="ck_saga_stuck_says_where"
        ),
        sa.CheckConstraint(
            "(status IN ('compensating', 'compensated')) <= backwards"
            " AND (status IN ('running', 'completed')) <= (NOT backwards)",
            name="ck_saga_direction",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'compensating', 'completed', 'compensated', 'stuck', 'rejected')",
            name="ck_saga_status",
        ),
        sa.CheckConstraint("clock_ms >= started_ms", name="ck_saga_clock"),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_saga_ended",
        "saga",
        ["ended_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_index("ix_saga_labels", "saga", ["labels"], unique=False, schema=SCHEMA, postgresql_using="gin")
    op.create_index("ix_saga_list", "saga", ["created_at", "id"], unique=False, schema=SCHEMA)
    op.create_index(
        "ix_saga_live",
        "saga",
        ["status", "created_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_saga_name", "saga", ["name", "status", "created_at", "id"], unique=False, schema=SCHEMA
    )
    op.create_table(
        "spent_id",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=SCHEMA,
    )
    op.create_table(
        "saga_log",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event", postgresql.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["saga_id"], [f"{SCHEMA}.saga.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("saga_id", "seq"),
        schema=SCHEMA,
    )
    op.create_table(
        "step",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(length=300), nullable=False),
        sa.Column("node", sa.String(length=120), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("op", sa.String(length=16), nullable=False),
        sa.Column("closes", sa.String(length=16), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("did", sa.String(length=16), nullable=False),
        sa.Column("result", postgresql.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("extra", postgresql.JSON(), nullable=True),
        sa.CheckConstraint("(due_ms IS NOT NULL) = (phase IN ('awaiting', 'backoff'))", name="ck_step_due"),
        sa.CheckConstraint("closes IS NULL OR op = 'fence'", name="ck_step_closes"),
        sa.CheckConstraint(
            "did IN ('unsent', 'unknown', 'done', 'refused', 'in_doubt', 'never', 'skipped')",
            name="ck_step_did",
        ),
        sa.CheckConstraint("op IN ('do', 'undo', 'confirm', 'fence')", name="ck_step_op"),
        sa.CheckConstraint("phase <> 'awaiting' OR attempt >= 1", name="ck_step_awaiting_was_sent"),
        sa.CheckConstraint("phase <> 'stuck' OR error IS NOT NULL", name="ck_step_stuck_says_why"),
        sa.CheckConstraint(
            "phase IN ('parked', 'awaiting', 'backoff', 'settled', 'stuck')", name="ck_step_phase"
        ),
        sa.ForeignKeyConstraint(["saga_id"], [f"{SCHEMA}.saga.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("saga_id", "path"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_step_out",
        "step",
        ["queue"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("phase IN ('awaiting', 'backoff')"),
    )
    op.create_index(
        "ix_step_parked",
        "step",
        ["queue"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("phase = 'parked'"),
    )
    op.create_table(
        "timer",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(length=300), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("outbox_id", sa.BigInteger(), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(token IS NULL) = (leased_until IS NULL)", name="ck_timer_lease"),
        sa.ForeignKeyConstraint(["saga_id"], [f"{SCHEMA}.saga.id"], name="fk_timer_saga", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("saga_id", "path"),
        schema=SCHEMA,
    )
    op.create_index("ix_timer_due", "timer", ["due_at"], unique=False, schema=SCHEMA)
    for table, storage in (
        ("saga", _LIVING),
        ("step", _LIVING),
        ("timer", _QUEUE),
        ("outbox", _QUEUE),
        ("owner", _HOT),
        ("breaker", _HOT),
    ):
        op.execute(f"ALTER TABLE {SCHEMA}.{table} SET ({storage})")


def downgrade() -> None:
    """Drop every table, with all it holds."""
    op.drop_table("timer", schema=SCHEMA)
    op.drop_table("step", schema=SCHEMA)
    op.drop_table("saga_log", schema=SCHEMA)
    op.drop_table("spent_id", schema=SCHEMA)
    op.drop_table("saga", schema=SCHEMA)
    op.drop_table("refused_start", schema=SCHEMA)
    op.drop_table("quarantine", schema=SCHEMA)
    op.drop_table("owner", schema=SCHEMA)
    op.drop_table("outbox", schema=SCHEMA)
    op.drop_table("definition", schema=SCHEMA)
    op.drop_table("breaker", schema=SCHEMA)
    op.drop_table("audit", schema=SCHEMA)
