"""Indexes to read the audit by: time, actor, act."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_audit_at": ["at", "id"],
    "ix_audit_actor": ["actor", "at", "id"],
    "ix_audit_act": ["act", "at", "id"],
}


def upgrade() -> None:
    """Only indexes: the release before writes as it did."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "audit", columns, schema="amends")


def downgrade() -> None:
    """As it was."""
    for name in _INDEXES:
        op.drop_index(name, "audit", schema="amends")
