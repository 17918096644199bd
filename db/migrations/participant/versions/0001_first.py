"""Create a participant's tables: outbox, owners, barrier.

Revision: 0001
Revises: nothing
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from amends.db.leftovers import drop_leftovers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# SQLite counts row ids itself, and only for a column of exactly this type.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TABLES = ("amends_outbox_key", "amends_owner", "amends_outbox", "amends_barrier")
_MYSQL = ("mysql", "mariadb")
_MOMENT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL)
_UUID = sa.Uuid().with_variant(sa.Uuid(native_uuid=False), *_MYSQL)
_OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in _MYSQL
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}

# O8: vacuum busy tables after so many dead rows, not after a share of the table.
_QUEUE = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, "
    "autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000, "
    "autovacuum_vacuum_cost_delay = 0, fillfactor = 90"
)
_HOT = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, fillfactor = 30"


def upgrade() -> None:
    """Create every table."""
    on_mysql = op.get_context().dialect.name in _MYSQL
    now = sa.text("(utc_timestamp(6))") if on_mysql else sa.func.now()
    if on_mysql:
        drop_leftovers(op.get_context(), revision, _TABLES)
    op.create_table(
        "amends_barrier",
        sa.Column("saga_id", _UUID, nullable=False),
        sa.Column("path", sa.String(length=300), nullable=False),
        sa.Column("op", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("certain", sa.Boolean(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("args", _BYTES, nullable=True),
        sa.Column("result", _BYTES, nullable=True),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.Column("lease_token", _UUID, nullable=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("at", _MOMENT, server_default=now, nullable=False),
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
        **_OPTIONS,
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
        sa.Column("headers", sa.Text(), server_default=sa.text("('{}')"), nullable=False),
        sa.Column("expiration_ms", sa.BigInteger(), nullable=True),
        sa.Column("body", _BYTES, nullable=False),
        sa.Column("ordering_key", sa.String(length=255), nullable=True),
        sa.Column("needs_receipt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=now, nullable=False),
        sa.Column("due_at", _MOMENT, server_default=now, nullable=False),
        sa.Column("owner", _UUID, nullable=True),
        sa.Column("leased_until", _MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.Column("returned_since", _MOMENT, nullable=True),
        sa.Column("parked_at", _MOMENT, nullable=True),
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
        **_OPTIONS,
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
        "ix_amends_outbox_swept" if on_mysql else "ix_amends_outbox_unowned",
        "amends_outbox",
        # Without partial indexes: one on all rows, in which those without an owner stand together.
        ["owner", "parked_at", "due_at", "id"] if on_mysql else ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("owner IS NULL AND parked_at IS NULL"),
    )
    op.create_table(
        "amends_owner",
        sa.Column("id", _UUID, nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("beat_at", _MOMENT, server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **_OPTIONS,
    )
    if op.get_context().dialect.name == "postgresql":
        for table, storage in (("amends_outbox", _QUEUE), ("amends_owner", _HOT)):
            op.execute(f"ALTER TABLE {table} SET ({storage})")
    if on_mysql:
        op.create_table(
            "amends_outbox_key",
            sa.Column("hash", sa.BigInteger(), primary_key=True, autoincrement=False),
            **_OPTIONS,
        )


def downgrade() -> None:
    """Drop every table, with all it holds."""
    if op.get_context().dialect.name in _MYSQL:
        op.drop_table("amends_outbox_key")
    op.drop_table("amends_owner")
    op.drop_table("amends_outbox")
    op.drop_table("amends_barrier")
