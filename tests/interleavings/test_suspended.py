"""A saga is suspended while starts of it arrive every way there is: none is lost, none is doubled (O1, S2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, rollout, step
from amends.participants.errors import SagaSuspended
from tests.doors.house import House
from tests.engine.world import World, start
from tests.interleavings.conftest import MakeDatabase, MakeTown
from tests.interleavings.services import Service
from tests.interleavings.shop import Shop
from tests.interleavings.town import Town
from tests.waiting import eventually

PAY = Saga("pay", step("charge", to="payments", undo="refund", args={}), version=1)


@pytest.fixture
def payments(make_database: MakeDatabase, participant_template: str) -> Service:
    """A service with a database of its own: its relay must not send the shop's rows, at its own pace."""
    return Service("payments", {"charge": "refund"}, make_database(participant_template))


@pytest.fixture
def town(make_town: MakeTown, payments: Service) -> Town:
    """A town of this test's own: it counts every saga. What waits there comes again soon."""
    made = make_town(again_s=0.3).start()
    made.add(payments)
    made.world.register(PAY)
    return made


def suspend(town: Town) -> None:
    rollout.suspend(town.world.database, PAY.name, actor="ann", reason="test")


def resume(town: Town) -> None:
    rollout.resume(town.world.database, PAY.name, actor="ann", reason="")


@pytest.mark.timeout(180)
def test_starts_of_every_kind_wait_out_a_suspension_and_are_one_saga_each(
    town: Town, participant_database: Engine
) -> None:
    """By transaction, by bare message and over HTTP, keyed twice, at two coordinators, while it is switched.

    Guards: SUSPENDED in starts.examine; `waits` and `outcome.again` in births.settle.
    """
    world, wanted = town.world, set()
    with ExitStack() as ends, ThreadPoolExecutor(4) as pool:
        second = World(world.database, town.network, town.prefix, again_s=0.3).start()
        ends.callback(second.close)
        door = House(second)
        ends.callback(door.close)
        shop = Shop(participant_database, town.network, town.prefix, url=door.server.url)
        ends.enter_context(shop.relaying())

        def in_transaction(number: int) -> str:
            with Session(participant_database) as session, session.begin():
                return shop.client.start(session, PAY, {}, key=f"keyed-{number % 20}" if number % 2 else None)

        def bare(number: int) -> str:
            body = start(PAY.name, {}, key=f"bare-{number}" if number % 2 else None)
            world.send_start(body)
            return body.saga

        def over_http(number: int) -> str | None:
            try:
                return shop.client.start_http(PAY, {}, key=f"http-{number}")
            except SagaSuspended:
                return None

        before = [*pool.map(in_transaction, range(40)), *pool.map(bare, range(10))]
        suspend(town)
        during = [*pool.map(in_transaction, range(40, 80)), *pool.map(bare, range(10, 20))]
        refused = [over_http(number) for number in range(5)]
        # In-transaction starts came at least once and wait for their next time; bare ones wait with the coordinators.
        eventually(lambda: len(town.network.sent("start")) >= 100, 30, what="every start to have come once")
        assert refused == [None] * 5
        held = world.value("SELECT count(*) FROM amends.saga")
        resume(town)
        after = [*pool.map(in_transaction, range(80, 100)), *pool.map(over_http, range(5))]

        wanted = {id_ for id_ in (*before, *during, *after) if id_ is not None}
        eventually(
            lambda: world.value("SELECT count(*) FROM amends.saga WHERE status = 'completed'") == len(wanted),
            60,
            what=f"{len(wanted)} sagas to be completed",
        )
        shop.drains()
        eventually(world.drained, 30, what="the coordinators' outbox to be empty")

    assert held < len(wanted)
    assert world.value("SELECT count(*) FROM amends.saga") == len(wanted)
    assert all(len(town.services["payments"].effects(id_)) == 1 for id_ in wanted)


def test_a_start_that_waited_longer_than_any_limit_begins_by_itself(
    town: Town, participant_database: Engine
) -> None:
    """However long it lasted: here three hours, by what the start says of itself."""
    shop = Shop(participant_database, town.network, town.prefix)
    suspend(town)
    with Session(participant_database) as session, session.begin():
        saga = shop.client.start(session, PAY, {}, key="patient")
        session.connection().exec_driver_sql(
            "UPDATE amends_outbox SET created_at = created_at - interval '3 hours', attempts = 40, body = convert_to("
            "regexp_replace(convert_from(body, 'UTF8'), '\"sent_at\":[0-9]+', '\"sent_at\":1000'), 'UTF8')"
        )
    with shop.relaying():
        eventually(lambda: len(town.network.sent("start", saga=saga)) >= 2, 20, what="it to come twice")
        assert town.world.status(saga) is None

        resume(town)

        town.world.wait_for(saga, "completed", 20)
        shop.drains()


def test_a_suspension_outlives_the_coordinator_that_made_it(make_town: MakeTown, payments: Service) -> None:
    first = make_town().start()
    first.world.register(PAY)
    suspend(first)
    first.close()
    second = make_town(first.world.database).start()
    second.add(payments)

    assert second.world.start_saga(PAY.name, {}, key="k").verdict == "suspended"
    resume(second)

    answer = second.world.start_saga(PAY.name, {}, key="k")
    second.world.wait_for(answer.saga_id, "completed")
