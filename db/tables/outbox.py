"""The outbox and its owners: the same columns in a service's database and in the coordinator's.

A row's life:

    inserted --claimed or published from memory--> confirmed --> deleted
       |                                              |
       |                                              +--> sent (needs_receipt) --receipt--> deleted
       +--> parked (its own fault: too large, no route for an hour) --retry--> inserted
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from amends.db.tables.storage import HOT, QUEUE, keep_small

# SQLite counts row ids itself, and only for a column of exactly this type.
_ID = BigInteger().with_variant(Integer(), "sqlite")


def outbox_table(name: str, metadata: MetaData, schema: str | None = None) -> Table:
    """The outbox table; `body` is JSON text in bytes, `headers` a JSON object.

    `owner` publishes from memory; None leaves the row to any relay. `leased_until` is a relay's claim (O2).
    `sent_at` marks what waits for a receipt (O1). PostgreSQL keeps it small (O8).
    """
    table = Table(
        name,
        metadata,
        Column("id", _ID, primary_key=True, autoincrement=True),
        Column("message_id", String(64), nullable=False),
        Column("exchange", String(255), nullable=False, server_default=""),
        Column("routing_key", String(255), nullable=False),
        Column("type", String(255), nullable=False),
        Column("correlation_id", String(255)),
        Column("reply_to", String(255)),
        Column("headers", Text, nullable=False, server_default="{}"),
        Column("expiration_ms", BigInteger),
        Column("body", LargeBinary, nullable=False),
        Column("ordering_key", String(255)),
        Column("needs_receipt", Boolean, nullable=False, server_default=text("false")),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("owner", Uuid),
        Column("leased_until", DateTime(timezone=True)),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("sent_at", DateTime(timezone=True)),
        Column("returned_since", DateTime(timezone=True)),
        Column("parked_at", DateTime(timezone=True)),
        Column("last_error", Text),
        CheckConstraint("sent_at IS NULL OR owner IS NULL", name=f"ck_{name}_sent_has_no_owner"),
        CheckConstraint("sent_at IS NULL OR needs_receipt", name=f"ck_{name}_sent_needs_receipt"),
        CheckConstraint("parked_at IS NULL OR last_error IS NOT NULL", name=f"ck_{name}_parked_says_why"),
        CheckConstraint("owner IS NULL OR ordering_key IS NULL", name=f"ck_{name}_keyed_has_no_owner"),
        Index(
            f"ix_{name}_unowned", "due_at", "id", postgresql_where=text("owner IS NULL AND parked_at IS NULL")
        ),
        Index(f"ix_{name}_owned", "owner", "created_at", postgresql_where=text("owner IS NOT NULL")),
        Index(f"ix_{name}_keyed", "ordering_key", "id", postgresql_where=text("ordering_key IS NOT NULL")),
        # An id that was deleted must never name another message: a late confirm or receipt would delete that.
        sqlite_autoincrement=True,
        schema=schema,
    )
    return keep_small(table, QUEUE)


def owner_table(name: str, metadata: MetaData, schema: str | None = None) -> Table:
    """Who publishes from memory, and when it was last heard of, in database time."""
    table = Table(
        name,
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("label", String(255), nullable=False),
        Column("beat_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        schema=schema,
    )
    return keep_small(table, HOT)
