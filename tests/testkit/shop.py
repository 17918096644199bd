"""A small service whose handlers the test kit runs."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, text
from sqlalchemy.orm import DeclarativeBase

from amends.outbox.message import Message
from amends.participants import Ctx, Failed, Participant, Refused

metadata = MetaData()
account = Table(
    "account",
    metadata,
    Column("card", String(20), primary_key=True),
    Column("cents", Integer, nullable=False),
)


class Base(DeclarativeBase):
    """Maps the table of accounts."""

    metadata = metadata


class Account(Base):
    """One account, by the ORM."""

    __table__ = account


class Charge(Struct, frozen=True):
    """Take this much from this card."""

    card: str
    cents: int


class Charged(Struct, frozen=True):
    """What is left."""

    left: int


payments = Participant("payments")


@payments.command
def charge(cmd: Charge, ctx: Ctx) -> Charged:
    """Take money; an unknown card is busy."""
    one = ctx.session.get(Account, cmd.card)
    if one is None:
        raise Failed("card is busy", retry_after_s=5)
    if one.cents < cmd.cents:
        raise Refused("card declined")
    one.cents -= cmd.cents
    ctx.put(Message(routing_key="mail", type="charged", body=b"{}"))
    return Charged(left=one.cents)


@charge.undo
def refund(cmd: Charge, charged: Charged, ctx: Ctx) -> None:
    """Give it back."""
    give(ctx.connection, cmd.card, cmd.cents)


@charge.confirm
def capture(cmd: Charge, charged: Charged, ctx: Ctx) -> None:
    """Mark it."""
    give(ctx.connection, "captured", cmd.cents)


@payments.command
async def look(cmd: Charge, ctx: Ctx) -> int:
    """What is on a card."""
    return cents(ctx.connection, cmd.card)


@payments.command
def hasty(cmd: Charge, ctx: Ctx) -> None:
    """Ends a transaction that is not its own."""
    give(ctx.connection, cmd.card, -cmd.cents)
    ctx.connection.commit()


def give(connection: Connection, card: str, amount: int) -> None:
    """Add to an account."""
    sql = text("UPDATE account SET cents = cents + :amount WHERE card = :card")
    connection.execute(sql, {"card": card, "amount": amount})


def cents(connection: Connection, card: str) -> int:
    """What is on a card."""
    return connection.execute(select(account.c.cents).where(account.c.card == card)).scalar_one()


def furnish(connection: Connection) -> None:
    """Two accounts."""
    metadata.create_all(connection)
    connection.execute(insert(account), [{"card": "4711", "cents": 1000}, {"card": "captured", "cents": 0}])
