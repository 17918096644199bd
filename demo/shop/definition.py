"""The order saga: reserve the goods, charge the card, hand the parcel to the carrier.

Until the carrier has the parcel everything can be amended: the card is refunded, the goods are released. The carrier
is the pivot: once it has the parcel, the order stands.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from amends.coordinator import Saga, arg, chain, pivot, result, retry, step

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Cents = Annotated[int, Meta(ge=0, le=10**9)]


class Line(Struct, frozen=True):
    """So many of one product, at its price on the day."""

    sku: Annotated[str, Meta(min_length=1, max_length=40)]
    title: Text
    quantity: Annotated[int, Meta(ge=1, le=1_000)]
    price_cents: Cents


class Customer(Struct, frozen=True):
    """Who ordered."""

    name: Text
    email: Text


class Address(Struct, frozen=True):
    """Where the parcel goes."""

    name: Text
    street: Text
    postcode: Text
    city: Text


class Order(Struct, frozen=True):
    """What the saga starts with."""

    number: Annotated[str, Meta(min_length=1, max_length=60)]
    customer: Customer
    lines: Annotated[list[Line], Meta(min_length=1, max_length=100)]
    total_cents: Cents
    card: Text
    address: Address
    note: Annotated[str, Meta(max_length=1_000)] = ""


# A demo does not wait half a minute for an answer that stays away, as a real shop would.
BRIEF: Final = "2s"
SOON: Final = retry(first="100ms", factor=2, longest="1s")

place_order = Saga(
    "place-order",
    chain(
        step(
            "reserve",
            to="inventory",
            undo="release",
            args={"order": arg.number, "lines": arg.lines},
            timeout=BRIEF,
            retry=SOON,
            undo_timeout=BRIEF,
            undo_retry=SOON,
        ),
        step(
            "charge",
            to="payments",
            undo="refund",
            args={"order": arg.number, "card": arg.card, "amount_cents": arg.total_cents},
            timeout=BRIEF,
            retry=SOON,
            undo_timeout=BRIEF,
            undo_retry=SOON,
        ),
        pivot(
            step(
                "dispatch",
                to="shipping",
                args={
                    "order": arg.number,
                    "reservation": result("reserve").reservation,
                    "address": arg.address,
                },
                timeout=BRIEF,
                retry=SOON,
            )
        ),
    ),
    version=1,
    deadline="15m",
    input=Order,
)
