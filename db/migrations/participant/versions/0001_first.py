"""Create a participant's tables: outbox, owners, barrier.

Revision: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# SQLite counts row ids itself, and only for a column of exactly this type.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# O8: vacuum busy tables after so many dead rows, not after a share of the table.
_QUEUE = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000, "
    "autovacuum_vacuum_cost_delay = 0, fillfactor = 90"
)
_HOT = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, fillfactor = 30"


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "amends_barrier",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(length=300), nullable=False),
        sa.Column("op", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("certain", sa.Boolean(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("args", sa.LargeBinary(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(
            "(op = 'do' AND outcome IN ('done', 'refused', 'never', 'calling'))"
            " OR (op = 'undo' AND outcome IN ('done', 'nothing', 'never', 'calling'))"
            " OR (op = 'confirm' AND outcome IN ('done', 'never', 'calling'))",
            name="ck_amends_barrier_outcome",
        ),
        sa.CheckConstraint(
            "certain OR outcome IN ('refused', 'nothing', 'done')", name="ck_amends_barrier_certain"
        ),
        sa.CheckConstraint("op IN ('do', 'undo', 'confirm')", name="ck_amends_barrier_op"),
        sa.CheckConstraint("(lease_token IS NULL) = (leased_until IS NULL)", name="ck_amends_barrier_lease"),
        sa.PrimaryKeyConstraint("saga_id", "path", "op"),
    )
    op.create_index("ix_amends_barrier_at", "amends_barrier", ["at"], unique=False)
    op.create_table(
        "amends_outbox",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
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
        sa.CheckConstraint(
            "owner IS NULL OR ordering_key IS NULL", name="ck_amends_outbox_keyed_has_no_owner"
        ),
        sa.CheckConstraint(
            "parked_at IS NULL OR last_error IS NOT NULL", name="ck_amends_outbox_parked_says_why"
        ),
        sa.CheckConstraint("sent_at IS NULL OR needs_receipt", name="ck_amends_outbox_sent_needs_receipt"),
        sa.CheckConstraint("sent_at IS NULL OR owner IS NULL", name="ck_amends_outbox_sent_has_no_owner"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_amends_outbox_keyed",
        "amends_outbox",
        ["ordering_key", "id"],
        unique=False,
        postgresql_where=sa.text("ordering_key IS NOT NULL"),
    )
    op.create_index(
        "ix_amends_outbox_owned",
        "amends_outbox",
        ["owner", "created_at"],
        unique=False,
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "ix_amends_outbox_unowned",
        "amends_outbox",
        ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("owner IS NULL AND parked_at IS NULL"),
    )
    op.create_table(
        "amends_owner",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_context().dialect.name == "postgresql":
        for table, storage in (("amends_outbox", _QUEUE), ("amends_owner", _HOT)):
            op.execute(f"ALTER TABLE {table} SET ({storage})")


def downgrade() -> None:
    """Drop every table, with all it holds."""
    op.drop_table("amends_owner")
    op.drop_table("amends_outbox")
    op.drop_table("amends_barrier")
