"""Keep which sagas are suspended: their starts wait.

Revision: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
SCHEMA = "amends"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "suspension",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("suspended_by", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("resumed_at >= since", name="ck_suspension_resumed"),
        sa.PrimaryKeyConstraint("name"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drop it: what was suspended begins again."""
    op.drop_table("suspension", schema=SCHEMA)
