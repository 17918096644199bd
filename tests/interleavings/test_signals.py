"""Signals from a service's outbox, on RabbitMQ: racing their saga's start, late, twice, after all (S1, S3, O1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from amends.coordinator import Saga, chain, result, step, wait
from tests.engine.world import World
from tests.interleavings.conftest import MakeDatabase
from tests.interleavings.shop import Shop
from tests.interleavings.test_starts import notes
from tests.interleavings.town import Town
from tests.waiting import eventually

RACES = 20
APPROVE = Saga(
    "approve",
    chain(wait("approved"), step("charge", to="payments", undo="refund", args={"by": result("approved")})),
    version=1,
)
TWICE = Saga(
    "approve-twice",
    chain(
        wait("first", signal="go"),
        step("charge", to="payments", undo="refund"),
        wait("second", signal="go"),
        step("notify", to="payments", undo=None),
    ),
    version=1,
)


@pytest.fixture
def shops(town: Town, make_database: MakeDatabase, participant_template: str) -> Iterator[list[Shop]]:
    """Two services, each with a database and a relay; and a second coordinator beside the town's."""
    with ExitStack() as ends:
        second = World(town.world.database, town.network, town.prefix).start()
        ends.callback(second.close)
        made = [Shop(make_database(participant_template), town.network, town.prefix) for _ in range(2)]
        for number, shop in enumerate(made):
            ends.enter_context(shop.relaying(service=f"shop-{number}"))
        yield made


def test_starts_and_signals_from_two_services_meet_whichever_comes_first(
    town: Town, shops: list[Shop]
) -> None:
    """S1, O1: at two coordinators, each message twice. Guards: `grown` in births._grow; `hold` in batch.decide."""
    trips = [town.trip(APPROVE) for _ in range(RACES)]
    starting, signalling = shops
    for number, trip in enumerate(trips):
        first, second = (trip.hold("start"), trip.hold("signal"))[:: 1 if number % 2 else -1]
        with Session(starting.database) as session, session.begin():
            starting.client.start(session, APPROVE, {}, key=trip.key)
        with Session(signalling.database) as session, session.begin():
            signalling.client.signal(session, trip.id, "approved", number)
        first.wait()
        second.wait()
        first.release(copies=2)
        second.release(copies=2)
        first.open()
        second.open()

    for number, trip in enumerate(trips):
        trip.becomes("completed")
        assert town.world.state(trip.id).steps["approved"].result == number
        assert trip.effects("payments") == ["charge"]
        assert trip.replays()
    for shop in shops:
        shop.drains()


def test_a_late_copy_of_a_signal_is_not_taken_by_a_second_wait(town: Town, shops: list[Shop]) -> None:
    """S1: its receipt was lost, so it comes again, after the first wait took it. Guard: `step.took` in
    signals._is_copy.
    """
    trip, shop = town.trip(TWICE).start(), shops[0]
    receipts = town.network.hold("receipt", note="accepted")

    with Session(shop.database) as session, session.begin():
        shop.client.signal(session, trip.id, "go", 1)
    receipts.wait()
    eventually(lambda: trip.effects("payments") == ["charge"], what="the saga to go on")
    shop.drains()
    assert "duplicate" in notes(town, trip.id, "signal")
    assert town.world.state(trip.id).steps["second"].phase == "waiting"
    receipts.open()
    with Session(shop.database) as session, session.begin():
        shop.client.signal(session, trip.id, "go", 2)

    trip.becomes("completed")
    trip.repeat("signal")
    eventually(
        lambda: notes(town, trip.id, "signal").count("duplicate") >= 3, what="copies to be known still"
    )
    assert [town.world.state(trip.id).steps[name].result for name in ("first", "second")] == [1, 2]
    assert trip.replays()


def test_a_signal_after_pruning_is_receipted_and_makes_no_row(town: Town, shops: list[Shop]) -> None:
    """S3: neither does a start; nothing comes again. Guard: the look at SPENT_IDS in placeholders.hold."""
    trip, shop = town.trip(APPROVE).start(), shops[0]
    with Session(shop.database) as session, session.begin():
        shop.client.signal(session, trip.id, "approved", 1)
    trip.becomes("completed")
    with town.world.database.begin() as connection:
        old = text("UPDATE amends.saga SET ended_at = now() - interval '90 days' WHERE id = :id")
        connection.execute(old, {"id": trip.id})
    eventually(lambda: town.world.coordinator._keeping.prune() == 1, what="the saga to be pruned")

    trip.repeat("signal")
    with Session(shop.database) as session, session.begin():
        shop.client.signal(session, trip.id, "approved", 2)
        shop.client.start(session, APPROVE, {}, key=trip.key)

    eventually(lambda: notes(town, trip.id, "signal").count("pruned") >= 2, what="both to be told")
    shop.drains()
    assert "spent" in notes(town, trip.id)
    assert town.world.status(trip.id) is None
    assert trip.effects("payments") == ["charge"]
