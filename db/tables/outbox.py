"""The outbox and its owners: the same columns in a service's database and in the coordinator's.

On MySQL and MariaDB a table beside it, empty to everybody, makes puts of one ordering key wait for each other.

A row's life:

    inserted --claimed or published from memory--> confirmed --> deleted
       |                                              |
       |                                              +--> sent (needs_receipt) --receipt--> deleted
       +--> parked (its own fault: too large, no route for an hour) --retry--> inserted
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    event,
    text,
)

from amends.db.mysql import NAMES, is_mysql
from amends.db.tables.portable import BYTES, MOMENT, ROW_ID, TABLE_OPTIONS, UUID, present
from amends.db.tables.storage import HOT, QUEUE, keep_small


def outbox_table(name: str, metadata: MetaData, schema: str | None = None) -> Table:
    """The outbox table; `body` is JSON text in bytes, `headers` a JSON object.

    `owner` publishes from memory; None leaves the row to any relay. `leased_until` is a relay's claim (O2).
    `sent_at` marks what waits for a receipt (O1). PostgreSQL keeps it small (O8).
    """
    table = Table(
        name,
        metadata,
        Column("id", ROW_ID, primary_key=True, autoincrement=True),
        Column("message_id", String(64), nullable=False),
        Column("exchange", String(255), nullable=False, server_default=""),
        Column("routing_key", String(255), nullable=False),
        Column("type", String(255), nullable=False),
        Column("correlation_id", String(255)),
        Column("reply_to", String(255)),
        Column("headers", Text, nullable=False, server_default=text("('{}')")),
        Column("expiration_ms", BigInteger),
        Column("body", BYTES, nullable=False),
        Column("ordering_key", String(255)),
        Column("needs_receipt", Boolean, nullable=False, server_default=text("false")),
        Column("created_at", MOMENT, nullable=False, server_default=present()),
        Column("due_at", MOMENT, nullable=False, server_default=present()),
        Column("owner", UUID),
        Column("leased_until", MOMENT),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("sent_at", MOMENT),
        Column("returned_since", MOMENT),
        Column("parked_at", MOMENT),
        Column("last_error", Text),
        CheckConstraint("sent_at IS NULL OR owner IS NULL", name=f"ck_{name}_sent_has_no_owner"),
        CheckConstraint("sent_at IS NULL OR needs_receipt", name=f"ck_{name}_sent_needs_receipt"),
        CheckConstraint("parked_at IS NULL OR last_error IS NOT NULL", name=f"ck_{name}_parked_says_why"),
        CheckConstraint("owner IS NULL OR ordering_key IS NULL", name=f"ck_{name}_keyed_has_no_owner"),
        Index(
            f"ix_{name}_unowned", "due_at", "id", postgresql_where=text("owner IS NULL AND parked_at IS NULL")
        ).ddl_if(callable_=_has_partial_indexes),
        Index(f"ix_{name}_owned", "owner", "created_at", postgresql_where=text("owner IS NOT NULL")),
        Index(f"ix_{name}_keyed", "ordering_key", "id", postgresql_where=text("ordering_key IS NOT NULL")),
        # An id that was deleted must never name another message: a late confirm or receipt would delete that.
        sqlite_autoincrement=True,
        schema=schema,
        **TABLE_OPTIONS,
    )
    keys = key_table(name, schema)
    for when, statement in (
        (
            "after_create",
            f"CREATE TABLE IF NOT EXISTS {keys} (hash bigint NOT NULL PRIMARY KEY) ENGINE=InnoDB",
        ),
        # An index on all rows, in which those without an owner stand together.
        ("after_create", f"CREATE INDEX ix_{name}_swept ON %(fullname)s (owner, parked_at, due_at, id)"),
        ("after_drop", f"DROP TABLE IF EXISTS {keys}"),
    ):
        only_there: Any = NAMES  # One name or several, though its type says one.
        event.listen(table, when, DDL(statement).execute_if(dialect=only_there))  # type: ignore[no-untyped-call]
    return keep_small(table, QUEUE)


def key_table(name: str, schema: str | None = None) -> str:
    """The table beside an outbox table on MySQL and MariaDB, quoted: who puts a key inserts there, and deletes at once.

    Others that put the same key wait at the row until the transaction ends, and nobody ever sees it (O6).
    """
    return ".".join(f"`{part}`" for part in (schema, f"{name}_key") if part)


def _has_partial_indexes(*_arguments: object, dialect: Dialect, **_options: object) -> bool:
    return not is_mysql(dialect.name)


def owner_table(name: str, metadata: MetaData, schema: str | None = None) -> Table:
    """Who publishes from memory, and when it was last heard of, in database time."""
    table = Table(
        name,
        metadata,
        Column("id", UUID, primary_key=True),
        Column("label", String(255), nullable=False),
        Column("beat_at", MOMENT, nullable=False, server_default=present()),
        schema=schema,
        **TABLE_OPTIONS,
    )
    return keep_small(table, HOT)
