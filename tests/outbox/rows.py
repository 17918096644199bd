"""Rows of a participant's outbox in a test: how they come in, how they look, how time passes for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, func, select, text, update

from amends.db.engines import transaction
from amends.db.tables.participant import outbox, owner
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore

STORE = OutboxStore(outbox, owner)


def message(n: int = 0, queue: str = "t.queue", **fields: Any) -> Message:
    """A message that says its number."""
    return Message(**{"routing_key": queue, "type": "test", "body": b'{"n":%d}' % n, **fields})


def stored(database: Engine, messages: Sequence[Message], owner_id: UUID | None = None) -> list[OutboxRow]:
    """Insert and commit; the rows as a process that did so knows them."""
    with transaction(database) as connection:
        ids = STORE.insert(connection, messages, owner_id)
    return [OutboxRow(id_, one, datetime.now(UTC)) for id_, one in zip(ids, messages, strict=True)]


def claimed(database: Engine, rows_max: int = 100, lease_s: float = 30.0) -> list[int]:
    """The ids of what a claim takes, committed."""
    with transaction(database) as connection:
        return [row.id for row in STORE.claim(connection, rows_max, lease_s)]


def rows(database: Engine) -> list[Row[Any]]:
    """Every row, by id."""
    with transaction(database) as connection:
        return list(connection.execute(select(outbox).order_by(outbox.c.id)))


def ids(database: Engine) -> list[int]:
    """The id of every row."""
    return [row.id for row in rows(database)]


def one(database: Engine, id_: int) -> Row[Any]:
    """One row."""
    with transaction(database) as connection:
        return connection.execute(select(outbox).where(outbox.c.id == id_)).one()


def owners(database: Engine) -> set[UUID]:
    """Who has a heartbeat row."""
    with transaction(database) as connection:
        return set(connection.execute(select(owner.c.id)).scalars())


def beat(database: Engine, id_: UUID, ago_s: float = 0.0) -> None:
    """A heartbeat, so many seconds ago."""
    with transaction(database) as connection:
        STORE.beat(connection, id_, "a test")
        connection.execute(update(owner).where(owner.c.id == id_).values(beat_at=ago(database, ago_s)))


def change(database: Engine, id_: int | None = None, **values: Any) -> None:
    """Set columns of one row, or of all."""
    statement = update(outbox).values(**values)
    with transaction(database) as connection:
        connection.execute(statement if id_ is None else statement.where(outbox.c.id == id_))


def ago(database: Engine, seconds: float) -> Any:
    """A moment in the past, by the database's clock."""
    if database.dialect.name == "postgresql":
        return func.now() - timedelta(seconds=seconds)
    if database.dialect.name == "mysql":
        return text(f"utc_timestamp(6) - INTERVAL {int(seconds * 1_000_000)} MICROSECOND")
    return func.strftime("%Y-%m-%d %H:%M:%f", "now", f"{-seconds:+.3f} seconds")


def due_in_s(database: Engine, id_: int) -> float:
    """In how many seconds a row is due, by the database's clock."""
    with transaction(database) as connection:
        if database.dialect.name == "postgresql":
            left: Any = func.extract("epoch", outbox.c.due_at - func.now())
        elif database.dialect.name == "mysql":
            left = text("timestampdiff(MICROSECOND, utc_timestamp(6), due_at) / 1e6")
        else:
            left = (func.julianday(outbox.c.due_at) - func.julianday("now")) * 86400.0
        return float(connection.execute(select(left).where(outbox.c.id == id_)).scalar_one())
