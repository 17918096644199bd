"""Quote, check the address, and make the parcel of all that fulfilment has found out."""

from __future__ import annotations

from msgspec import Struct

from amends.participants import Participant, Refused
from examples.shop.events import Who, user_deleted
from examples.shop.sagas import Newcomer, Order
from examples.shop.shipping.models import Default, Parcel

shipping = Participant("shipping")
CENTS = {"DE": 500, "FR": 900, "AQ": 99_000}
INSURED_CENTS_MAX = 100_000


class Price(Struct, frozen=True):
    cents: int


class Label(Struct, frozen=True):
    text: str


class Tax(Struct, frozen=True):
    percent: int


class Customer(Struct, frozen=True):
    name: str


class Finalise(Struct, frozen=True):
    order: str
    cents: int
    tax: Tax
    label: Label
    customer: Customer


@shipping.command
def quote(cmd: Order) -> Price:
    if cmd.country not in CENTS:
        raise Refused(f"nobody carries to {cmd.country}")
    return Price(CENTS[cmd.country])


@shipping.command
def address(cmd: Order) -> Label:
    if not any(letter.isdigit() for letter in cmd.street):
        raise Refused(f"{cmd.street!r} has no number")
    return Label(f"{cmd.street}, {cmd.country}")


@shipping.command
def finalise(cmd: Finalise) -> int:
    """The parcel's number."""
    if cmd.cents > INSURED_CENTS_MAX:
        raise Refused("worth more than a parcel may be")
    parcel = Parcel.objects.create(
        order=cmd.order,
        label=cmd.label.text,
        customer=cmd.customer.name,
        cents=cmd.cents,
        tax_percent=cmd.tax.percent,
    )
    return int(parcel.pk)


@finalise.undo
def call_back(cmd: Finalise, parcel: int) -> None:
    Parcel.objects.get(pk=parcel, order=cmd.order).delete()


@shipping.command
def set_defaults(cmd: Newcomer) -> None:
    if cmd.country not in CENTS:
        raise Refused(f"nobody carries to {cmd.country}")
    Default.objects.create(email=cmd.email, country=cmd.country)


@set_defaults.undo
def drop_defaults(cmd: Newcomer) -> None:
    Default.objects.get(email=cmd.email).delete()


@shipping.on(user_deleted)
def forget_defaults(who: Who) -> None:
    Default.objects.filter(email=who.email).delete()
