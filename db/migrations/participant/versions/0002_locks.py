"""Create the table of semantic locks.

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from amends.db.leftovers import drop_leftovers

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MYSQL = ("mysql", "mariadb")
_UUID = sa.Uuid().with_variant(sa.Uuid(native_uuid=False), *_MYSQL)
_OPTIONS: dict[str, Any] = {
    f"{name}_{option}": value
    for name in _MYSQL
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Only a new table: the release before works as it did."""
    if op.get_context().dialect.name in _MYSQL:
        drop_leftovers(op.get_context(), revision, ("amends_lock",))
    op.create_table(
        "amends_lock",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("slot", sa.String(length=32), nullable=False),
        sa.Column("saga_id", _UUID, nullable=False),
        sa.Column("saga_name", sa.String(length=120), nullable=False),
        sa.Column("path", sa.String(length=300), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("waits_until_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(slot = '') = (waits_until_ms IS NULL)", name="ck_amends_lock_waits"),
        sa.PrimaryKeyConstraint("name", "slot"),
        **_OPTIONS,
    )
    op.create_index("ix_amends_lock_saga", "amends_lock", ["saga_id"], unique=False)


def downgrade() -> None:
    """As it was: what is locked is locked no more."""
    op.drop_table("amends_lock")
