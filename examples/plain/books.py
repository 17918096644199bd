"""One participant for any database: it works through SQLAlchemy, in the transaction that holds its barrier."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Column, Integer, MetaData, String, Table

from amends.participants import Ctx, Participant, Refused

metadata = MetaData()
sold = Table("sold", metadata, Column("number", String(40), primary_key=True))
booked = Table(
    "booked",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", String(40), nullable=False),
    Column("cents", Integer, nullable=False),
)


class Booking(Struct):
    """So much money for this article."""

    number: str
    cents: int


def books(name: str, cents_max: int | None = None) -> Participant:
    """A service with books, which refuses to book more than `cents_max`."""
    participant = Participant(name)

    @participant.command
    def book(cmd: Booking, ctx: Ctx) -> None:
        ctx.connection.execute(booked.insert().values(number=cmd.number, cents=cmd.cents))
        if cents_max is not None and cmd.cents > cents_max:
            raise Refused("too dear for this service")  # What was just inserted is undone with it.

    @book.undo
    def cancel(cmd: Booking, ctx: Ctx) -> None:
        ctx.connection.execute(booked.insert().values(number=cmd.number, cents=-cmd.cents))

    return participant
