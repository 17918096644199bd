"""The steps of an order that are the orders' own; and a copy of the customers, kept by events."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import EventCtx, Participant
from examples.shop import sagas
from examples.shop.events import Person, Who, user_created, user_deleted, user_updated
from examples.shop.orders.models import Customer, Order

orders = Participant("orders")


class Confirm(Struct, frozen=True):
    number: str
    parcel: int


@orders.command
def accept(cmd: sagas.Order) -> None:
    Order.objects.filter(number=cmd.number).update(status="accepted")


@accept.undo
def cancel(cmd: sagas.Order) -> None:
    Order.objects.filter(number=cmd.number).update(status="cancelled")


@orders.command
def confirm(cmd: Confirm) -> None:
    Order.objects.filter(number=cmd.number).update(status="confirmed", parcel=cmd.parcel)


@orders.on(user_created, user_updated, version=">=2")
def keep_customer(person: Person, ctx: EventCtx) -> None:
    _note(person.email, ctx, name=person.name)


@orders.on(user_deleted)
def forget_customer(who: Who, ctx: EventCtx) -> None:
    _note(who.email, ctx, name="", gone=True)


def _note(email: str, ctx: EventCtx, **told: object) -> None:
    """What an event says, unless a newer one of this user has been here before it."""
    Customer.objects.get_or_create(email=email)
    Customer.objects.filter(email=email, row__lt=ctx.row).update(row=ctx.row, **told)
