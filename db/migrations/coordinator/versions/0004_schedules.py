"""Create the table of schedules (S4).

Revision: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
SCHEMA = "amends"

_HOT = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100, fillfactor = 30"


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "schedule",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("saga", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("input", postgresql.JSON(), nullable=False),
        sa.Column("labels", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("missed", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_due", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_saga", sa.Uuid(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fired_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("missed_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("missed IN ('skip', 'once', 'all')", name="ck_schedule_missed"),
        sa.CheckConstraint("(last_error IS NULL) = (failed_at IS NULL)", name="ck_schedule_error"),
        sa.CheckConstraint("(last_due IS NULL) = (last_saga IS NULL)", name="ck_schedule_last"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_schedule_due",
        "schedule",
        ["next_due"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("paused_at IS NULL"),
    )
    op.execute(f"ALTER TABLE {SCHEMA}.schedule SET ({_HOT})")


def downgrade() -> None:
    """Drop it, with all it holds."""
    op.drop_table("schedule", schema=SCHEMA)
