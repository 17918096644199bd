"""Placeholders for sagas that somebody speaks of before their start (S1, K3), and who called a saga (K1)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATUSES = "'running', 'compensating', 'completed', 'compensated', 'stuck', 'rejected'"


def upgrade() -> None:
    """A wider constraint and a column that may be empty: what the release before writes still fits."""
    op.add_column("saga", sa.Column("parent_id", sa.Uuid()), schema="amends")
    op.create_index(
        "ix_saga_parent",
        "saga",
        ["parent_id", "created_at"],
        schema="amends",
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_saga_placeholder",
        "saga",
        ["created_at"],
        schema="amends",
        postgresql_where=sa.text("status = 'placeholder'"),
    )
    _constrain(f"status IN ({_STATUSES}, 'placeholder')")


def downgrade() -> None:
    """As it was; refused by the database while there are placeholders."""
    _constrain(f"status IN ({_STATUSES})")
    op.drop_index("ix_saga_placeholder", "saga", schema="amends")
    op.drop_index("ix_saga_parent", "saga", schema="amends")
    op.drop_column("saga", "parent_id", schema="amends")


def _constrain(condition: str) -> None:
    op.drop_constraint("ck_saga_status", "saga", schema="amends", type_="check")
    op.create_check_constraint("ck_saga_status", "saga", condition, schema="amends")
