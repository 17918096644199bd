"""An index of the sagas that have not ended, by version: which definitions are in use, without reading every saga."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None of its columns ever changes but by the saga's end, so it costs a saga's updates nothing (HOT)."""
    op.create_index(
        "ix_saga_version",
        "saga",
        ["name", "version"],
        schema="amends",
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    """As it was."""
    op.drop_index("ix_saga_version", "saga", schema="amends")
