"""When a start of an unknown version was first seen: it is rejected an hour after that (S2).

Revision: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
SCHEMA = "amends"


def upgrade() -> None:
    """Create the table; the release before knows nothing of it, and goes by the sender's clock."""
    op.create_table(
        "unknown_start",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "message_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_unknown_start_first_seen", "unknown_start", ["first_seen"], schema=SCHEMA)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("unknown_start", schema=SCHEMA)
