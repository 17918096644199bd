"""What happens across the services. No service calls another: each obeys the steps that are its own."""

from __future__ import annotations

from msgspec import Struct

from amends.coordinator import Saga, arg, call, chain, group, pivot, result, step


class Order(Struct, frozen=True):
    """One article, so many pieces, to this address."""

    number: str
    email: str
    card: str
    sku: str
    pieces: int
    street: str
    country: str


class Newcomer(Struct, frozen=True):
    """Who signs up."""

    email: str
    name: str
    country: str


fulfil = Saga(
    "fulfil",
    chain(
        group(
            step("reserve", to="inventory", undo="release"),
            step("tax", to="payments", reads=True),
            step("address", to="shipping", reads=True),
            step("fraud", to="users", reads=True),
        ),
        step(
            "finalise",
            to="shipping",
            undo="call_back",
            args={
                "order": arg.number,
                "cents": result("reserve").cents,
                "tax": result("tax"),
                "label": result("address"),
                "customer": result("fraud"),
            },
        ),
    ),
    version=1,
    input=Order,
    result={"parcel": result("finalise")},
)

place_order = Saga(
    "place-order",
    chain(
        step("accept", to="orders", undo="cancel"),
        step("validate", to="inventory", reads=True),
        step("quote", to="shipping", reads=True),
        step(
            "charge",
            to="payments",
            undo="refund",
            args={
                "order": arg.number,
                "card": arg.card,
                "goods": result("validate").cents,
                "shipping": result("quote").cents,
            },
        ),
        # A child saga, held until this one has decided: if the order is not confirmed, what it did is undone as well.
        call("fulfil"),
        pivot(step("confirm", to="orders", args={"number": arg.number, "parcel": result("fulfil").parcel})),
        step("receipt", to="notifications", args={"to": arg.email, "order": arg.number}),
    ),
    version=1,
    deadline="15m",
    key=arg.number,
    labels={"customer": arg.email},
    input=Order,
)

# Mails cannot be unsent: they are written, and sent (`confirm`) only once all the rest has succeeded.
onboard = Saga(
    "onboard",
    chain(
        step("validate", to="users", reads=True),
        step("profile", to="users", do="create_profile", undo="remove_profile"),
        step("role", to="users", do="assign_role", undo="withdraw_role"),
        group(
            step(
                "welcome",
                to="notifications",
                do="write",
                undo="discard",
                confirm="send",
                args={"to": arg.email, "text": "welcome"},
            ),
            step("preferences", to="notifications", do="set_preferences", undo="drop_preferences"),
            step("defaults", to="shipping", do="set_defaults", undo="drop_defaults"),
            step(
                "notice",
                to="notifications",
                do="write",
                undo="discard",
                confirm="send",
                args={"to": "admin", "text": result("role").text},
            ),
        ),
        step("finalise", to="users", do="activate", undo="deactivate"),
    ),
    version=1,
    deadline="1h",
    key=arg.email,
    input=Newcomer,
)

# By the clock, every night: what we think was paid, beside what the gateway says. A report cannot be unsent, so that
# step is the point of no return.
reconcile = Saga(
    "reconcile",
    chain(
        step("compare", to="payments", reads=True),
        pivot(step("report", to="notifications", args=result("compare"))),
    ),
    version=1,
)
