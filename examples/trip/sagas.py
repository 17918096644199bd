"""A trip for several people: one saga for the trip, and a child saga for each traveller's journey."""

from __future__ import annotations

from msgspec import Struct

from amends.coordinator import (
    Saga,
    arg,
    call,
    chain,
    choose,
    each,
    emit,
    group,
    item,
    pivot,
    result,
    sleep,
    step,
    wait,
)


class Traveller(Struct, frozen=True):
    name: str
    home: str


class Trip(Struct, frozen=True):
    """What is ordered. `cents` is the price of all of it."""

    number: str
    city: str
    card: str
    cents: int
    travellers: list[Traveller]


class Journey(Struct, frozen=True):
    """What one traveller needs."""

    traveller: Traveller
    city: str


# Try, confirm, cancel: seat and room are held until the trip is paid, and then taken or released, both or neither.
journey = Saga(
    "journey",
    group(
        step("seat", to="airline", do="hold", undo="release", confirm="take"),
        step("room", to="hotel", do="hold", undo="release", confirm="take"),
    ),
    version=1,
    input=Journey,
    result={"seat": result("seat").number, "room": result("room").number},
)

trip = Saga(
    "trip",
    chain(
        emit("trip.requested", {"trip": arg.number}, undo="trip.withdrawn"),
        # What is dear needs a person; nobody answers within two hours: the trip is off.
        choose((arg.cents > 500_000, wait("approved", timeout="2h"))),
        each(arg.travellers, call("journey", {"traveller": item, "city": arg.city}), at_most=10),
        pivot(step("charge", to="payments", args={"card": arg.card, "cents": arg.cents})),
        sleep("1s", name="bank-books"),
        each(
            arg.travellers,
            step("itinerary", to="mail", args={"to": item.name, "about": result("journey")}),
            at_most=10,
        ),
    ),
    version=1,
    deadline="12h",
    key=arg.number,
    labels={"city": arg.city},
    input=Trip,
    result={"journeys": result("journey")},
    on_stuck="trip.needs-a-person",
)
