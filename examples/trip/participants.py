"""Airline, hotel, payments and mail: four services, each with a database of its own."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Column, Integer, MetaData, String, Table, delete, func, insert, select, update

from amends.participants import Ctx, Participant, Refused
from examples.trip.sagas import Journey

metadata = MetaData()
# One table for all four services: what was asked for, by whom, and how it stands.
bookings = Table(
    "booking",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("who", String(60), nullable=False),
    Column("place", String(60), nullable=False),
    Column("state", String(10), nullable=False),
)
ROOMS: Final = {"Venice": 2, "Oslo": 50}
DECLINED: Final = "0000"


class Held(Struct, frozen=True):
    number: int


class Charge(Struct, frozen=True):
    card: str
    cents: int


class Itinerary(Struct, frozen=True):
    to: str
    about: list[Any]


def _book(ctx: Ctx, who: str, place: str, state: str) -> Held:
    booked = ctx.connection.execute(
        insert(bookings).values(who=who, place=place, state=state).returning(bookings.c.number)
    )
    return Held(booked.scalar_one())


def reserving(name: str, places: dict[str, int] | None = None) -> Participant:
    """A service that holds places until they are taken or released. `places` are how many a city has, if it has few."""
    participant = Participant(name)

    @participant.command
    def hold(cmd: Journey, ctx: Ctx) -> Held:
        taken = select(func.count()).select_from(bookings).where(bookings.c.place == cmd.city)
        if places is not None and ctx.connection.execute(taken).scalar_one() >= places[cmd.city]:
            raise Refused(f"the {name} in {cmd.city} is full")
        return _book(ctx, cmd.traveller.name, cmd.city, "held")

    @hold.undo
    def release(_cmd: Journey, held: Held, ctx: Ctx) -> None:
        ctx.connection.execute(delete(bookings).where(bookings.c.number == held.number))

    @hold.confirm
    def take(_cmd: Journey, held: Held, ctx: Ctx) -> None:
        ctx.connection.execute(update(bookings).where(bookings.c.number == held.number).values(state="taken"))

    return participant


airline = reserving("airline")
hotel = reserving("hotel", ROOMS)
payments = Participant("payments")
mail = Participant("mail")


@payments.command
def charge(cmd: Charge, ctx: Ctx) -> None:
    if cmd.card == DECLINED:
        raise Refused("card declined")
    _book(ctx, cmd.card, str(cmd.cents), "paid")


@mail.command
def itinerary(cmd: Itinerary, ctx: Ctx) -> None:
    _book(ctx, cmd.to, f"{len(cmd.about)} journeys", "sent")


participants = (airline, hotel, payments, mail)
