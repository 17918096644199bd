"""Starts on their way from a service's transaction to the coordinator: lost, repeated, twice at once (O1, O2, S2)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, step
from amends.outbox import wire
from amends.participants import Ctx
from amends.participants.errors import StartConflict
from tests.doors.house import House
from tests.engine.world import World
from tests.interleavings.conftest import MakeDatabase
from tests.interleavings.shop import Shop
from tests.interleavings.town import Town
from tests.waiting import DEADLINE_S

PAY = Saga("start", step("charge", to="payments", undo="refund", args={}), version=1)


@pytest.fixture
def shop(town: Town, participant_database: Engine) -> Shop:
    """A shop in the shared town."""
    town.world.register(PAY)
    return Shop(participant_database, town.network, town.prefix)


def test_a_start_that_is_lost_with_the_broker_is_sent_again(town: Town, shop: Shop) -> None:
    """O1: the broker had confirmed it. Guard: `needs_receipt=True` in client.py: Client._message."""
    trip = town.trip(PAY)
    lost = trip.hold("start", most=1)

    with Session(shop.database) as session, session.begin():
        shop.client.start(session, PAY, {}, key=trip.key)
    with shop.relaying():
        lost.wait()
        trip.becomes("completed")
        shop.drains()

    assert trip.effects("payments") == ["charge"]


def test_a_start_whose_receipt_is_lost_is_receipted_again_and_is_one_saga(town: Town, shop: Shop) -> None:
    """O1: a receipt each time it comes, also for what changes nothing.

    Guards: `receipts.append` in births.py: Births.settle, and its being for every verdict.
    """
    trip = town.trip(PAY)
    with Session(shop.database) as session, session.begin():
        shop.client.start(session, PAY, {}, key=trip.key)
    notes = town.network.hold("receipt", note="accepted")

    with shop.relaying():
        accepted = notes.wait()
        shop.drains()

    assert accepted.message_id in {one.message_id for one in town.network.sent("receipt", note="duplicate")}
    trip.becomes("completed")
    assert trip.effects("payments") == ["charge"]


class ChangeOfMind(Exception):
    """A service gives up one part of what it does."""


def test_a_start_in_a_savepoint_that_rolls_back_never_was(town: Town, shop: Shop) -> None:
    """O2: the outer transaction commits. Guard: `put` inserts on the caller's connection, putting.py: put."""
    kept, gone, later = (town.trip(PAY) for _ in range(3))

    with Session(shop.database) as session, session.begin():
        shop.client.start(session, PAY, {}, key=kept.key)
        with pytest.raises(ChangeOfMind), session.begin_nested():
            shop.client.start(session, PAY, {}, key=gone.key)
            raise ChangeOfMind
        shop.client.start(session, PAY, {}, key=later.key)
    with shop.relaying():
        kept.becomes("completed")
        later.becomes("completed")
        shop.drains()

    assert gone.sent("start") == []
    assert town.world.status(gone.id) is None


def test_a_handlers_savepoint_that_rolls_back_takes_its_messages_along(town: Town, shop: Shop) -> None:
    """O2: the worker publishes from memory only what it has inserted itself."""
    outer, kept, gone = (town.trip(PAY) for _ in range(3))

    def start_two(ctx: Ctx) -> object:
        shop.client.start(ctx.session, PAY, {}, key=kept.key)
        with pytest.raises(ChangeOfMind), ctx.session.begin_nested():
            shop.client.start(ctx.session, PAY, {}, key=gone.key)
            raise ChangeOfMind
        return None

    outer.on("payments", "charge", start_two)
    outer.start()

    kept.becomes("completed")
    outer.becomes("completed")
    assert gone.sent("start") == []
    assert town.world.status(gone.id) is None


@pytest.fixture
def doors(town: Town) -> Iterator[list[House]]:
    """Two doors: one of the town's coordinator, one of a second coordinator beside it."""
    with ExitStack() as ends:
        second = World(town.world.database, town.network, town.prefix).start()
        ends.callback(second.close)
        houses = [House(world) for world in (town.world, second)]
        for house in houses:
            ends.callback(house.close)
            # FastAPI builds its routes at the first request, and silences a warning meanwhile. That is not made for
            # threads: of two doors in one process, each in a thread, one would raise what the other had silenced.
            assert httpx.get(f"{house.server.url}/nowhere", timeout=DEADLINE_S).status_code == 404
        yield houses


def test_one_key_started_at_once_over_http_and_in_transactions_is_one_saga(
    town: Town, doors: list[House], make_database: MakeDatabase, participant_template: str
) -> None:
    """S2: with the same input and with other, at two doors and from two services; the first one stays as it was.

    Guards: ON CONFLICT in sql.py: INSERT_SAGAS; `input_hash` in births.py: Births._answer.
    """
    trip = town.trip(PAY)
    shops = [
        Shop(make_database(participant_template), town.network, town.prefix, url=house.server.url)
        for house in doors
    ]
    starts = trip.hold("start", most=8)
    for number in range(8):
        shop = shops[number % 2]
        with Session(shop.database) as session, session.begin():
            shop.client.start(session, PAY, {"n": number // 2 % 2}, key=trip.key)

    def over_http(number: int) -> int:
        body = {"name": PAY.name, "input": {"n": number // 2 % 2}, "key": trip.key}
        return httpx.post(f"{doors[number % 2].server.url}/sagas", json=body, timeout=DEADLINE_S).status_code

    with ExitStack() as relays, ThreadPoolExecutor(9) as pool:
        for number, shop in enumerate(shops):
            relays.enter_context(shop.relaying(service=f"shop-{number}"))
        starts.wait(8)
        released = pool.submit(starts.open)
        statuses = list(pool.map(over_http, range(8)))
        released.result()
        for shop in shops:
            shop.drains()

    trip.becomes("completed")
    winner = town.world.value("SELECT input->>'n' FROM amends.saga WHERE id = :id", id=trip.id)
    loser = {"n": 1 - int(winner)}
    same = [status for number, status in enumerate(statuses) if str(number // 2 % 2) == winner]
    other = [status for number, status in enumerate(statuses) if str(number // 2 % 2) != winner]
    assert sorted(same)[:3] == [200, 200, 200]
    assert set(other) == {409}
    assert trip.effects("payments") == ["charge"]
    assert shops[0].client.wait(trip.id, input={"n": int(winner)}).completed
    with pytest.raises(StartConflict):
        shops[1].client.wait(trip.id, input=loser)
    assert notes(town, trip.id).count("accepted") == (0 if 201 in statuses else 1)


def notes(town: Town, saga: str, kind: str = "start") -> list[str]:
    """What the coordinators' receipts say of a saga's starts, or signals."""
    ours = {one.message_id for one in town.network.messages(kind, saga=saga)}
    receipts: list[wire.Receipt] = town.network.sent("receipt")
    return [one.note for one in receipts if one.message_id in ours]
