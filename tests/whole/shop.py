"""A participant by the SDK, whose handlers count their effects, and refuse what a test has closed to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from amends.outbox.message import Message
from amends.outbox.ports import events_exchange
from amends.participants import Ctx, Participant, Refused

metadata = MetaData()
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("saga", String(40), nullable=False),
    Column("path", String(300), nullable=False),
    Column("what", String(20), nullable=False),
    Column("note", String(1_000), nullable=False),
)
# While a row stands, the handlers of this step and op refuse.
closed = Table(
    "closed",
    metadata,
    Column("saga_name", String(120)),
    Column("path", String(300)),
    Column("op", String(20)),
)


def shop(coordinators: Engine, prefix: str) -> Participant:
    """The participant; `coordinators` is the coordinator's database, which a `confirm` has a look at."""
    participant = Participant("shop")

    def happens(ctx: Ctx, note: str) -> dict[str, Any]:
        place = (closed.c.saga_name == ctx.saga_name, closed.c.path == ctx.path, closed.c.op == ctx.op.value)
        if ctx.connection.execute(select(func.count()).where(*place)).scalar_one():
            raise Refused(f"{ctx.op.value} of {ctx.path} is closed")
        row = {"saga": ctx.saga, "path": ctx.path, "what": ctx.op.value, "note": note}
        ctx.connection.execute(insert(effects).values(row))
        return {"note": note, "path": ctx.path}

    @participant.command
    def put(cmd: dict[str, Any], ctx: Ctx) -> dict[str, Any]:
        note = str(cmd.get("note", ""))
        if note == "bad":
            raise Refused("a bad note")
        return happens(ctx, note)

    @put.undo
    def take(cmd: dict[str, Any], ctx: Ctx) -> None:
        happens(ctx, "")

    @put.confirm
    def keep(cmd: dict[str, Any], ctx: Ctx) -> None:
        decided = f"SELECT head->>'pivot' FROM amends.saga WHERE id = '{ctx.saga}'"
        with coordinators.connect() as connection:
            happens(ctx, str(connection.exec_driver_sql(decided).scalar()))

    @participant.command
    def announce(cmd: dict[str, Any], ctx: Ctx) -> None:
        ctx.put(
            Message(
                exchange=events_exchange(prefix),
                routing_key="shop.opened",
                type="shop.opened",
                body=b'{"id":"1","by":"hand"}',
            )
        )

    return participant


def close(connection: Connection, saga_name: str, path: str, op: str) -> None:
    """Let this step of these sagas refuse from now on."""
    connection.execute(insert(closed).values(saga_name=saga_name, path=path, op=op))


def reopen(connection: Connection, saga_name: str) -> None:
    """Let these sagas refuse nothing."""
    connection.execute(delete(closed).where(closed.c.saga_name == saga_name))


def happened(connection: Connection, saga_id: str) -> list[tuple[str, str, str]]:
    """What the handlers did for a saga, in order: op, path, note."""
    wanted = select(effects.c.what, effects.c.path, effects.c.note).where(effects.c.saga == saga_id)
    return [tuple(row) for row in connection.execute(wanted.order_by(effects.c.id))]  # type: ignore[misc]
