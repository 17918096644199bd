"""Windows full of messages that were lost, and breakers that nothing but an undo can close, on RabbitMQ (M6, E4)."""

from __future__ import annotations

import pytest

from amends.coordinator import Saga, chain, step
from tests.interleavings.conftest import MakeDatabase, MakeTown
from tests.interleavings.services import Service, refuse
from tests.interleavings.town import Town, Trip
from tests.waiting import eventually

WINDOW = 5
PAY = Saga("pay-lost", step("charge", to="payments", undo="refund", timeout="1s"), version=1)
PAY_IN_VAIN = Saga(
    "pay-in-vain",
    chain(
        step("charge", to="payments", undo="refund", undo_timeout="500ms"),
        step("notify", to="payments", undo=None),
    ),
    version=1,
)


@pytest.fixture
def town(make_town: MakeTown, make_database: MakeDatabase, participant_template: str) -> Town:
    """A town with a small window, and breakers that open soon."""
    made = make_town(window=WINDOW, breaker_failures=3).start()
    commands = {"charge": "refund", "notify": None}
    made.add(Service("payments", commands, make_database(participant_template)))
    return made


def breaker(town: Town, queue: str) -> str | None:
    """How a queue's breaker stands, once it has ever opened."""
    state: str | None = town.world.value("SELECT state FROM amends.breaker WHERE queue = :queue", queue=queue)
    return state


def start(town: Town, saga: Saga, count: int) -> list[Trip]:
    return [town.trip(saga).start() for _ in range(count)]


def test_a_window_full_of_messages_that_the_broker_lost_goes_on(town: Town) -> None:
    """M6, E4: nothing is answered, nothing has room, and yet it is tried again, by what waits for an answer.

    Guard: `item.probe` in batch._admit, for there is no room.
    """
    lost = town.network.hold("command", most=WINDOW)
    trips = start(town, PAY, 3 * WINDOW)
    lost.wait(WINDOW)
    eventually(lambda: breaker(town, "payments.do") is not None, what="their timeouts to open the breaker")

    for trip in trips:
        trip.becomes("completed")

    assert breaker(town, "payments.do") == "closed"
    assert [trip.effects("payments") for trip in trips] == [["charge"]] * len(trips)
    assert all(trip.replays() for trip in trips)


def test_an_open_breaker_with_only_undos_waiting_is_probed_by_one_of_them(town: Town) -> None:
    """M6: no new work will ever come to close it. Guard: WAITING_COMMAND takes any op and phase."""
    trips = [town.trip(PAY_IN_VAIN) for _ in range(WINDOW)]
    lost = town.network.hold("command", op="undo")
    for trip in trips:
        trip.on("payments", "notify", refuse())
        trip.start()
    eventually(lambda: breaker(town, "payments.undo") == "open", what="the breaker of the undos to open")
    sent = len(lost.parcels)
    eventually(lambda: len(lost.parcels) >= sent + 2, what="two probes")
    assert {town.world.status(trip.id) for trip in trips} == {"compensating"}
    lost.parcels.clear()  # They are lost for good.
    lost.open()

    for trip in trips:
        trip.becomes("compensated")

    assert breaker(town, "payments.undo") == "closed"
    assert [trip.effects("payments") for trip in trips] == [["charge", "refund"]] * len(trips)
