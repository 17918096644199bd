"""The steps of an order that are the orders' own."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import Participant
from examples.shop import sagas
from examples.shop.orders.models import Order

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
