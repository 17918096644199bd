"""Schedules by the client, at a real coordinator's door."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, arg, step
from amends.outbox.broker import open_broker
from amends.participants import Client, CoordinatorRefused, InvalidInput, SagaSuspended, UnknownSaga
from tests.doors.house import INPUT, SECRETS, TOKENS, House, order
from tests.engine.scheduled import make_due
from tests.engine.world import World
from tests.waiting import eventually

KEYED = Saga("keyed", step("reserve", to="inventory", undo="release"), version=1, key=arg.number)


@pytest.fixture
def house(coordinator_database: Engine) -> Iterator[House]:
    """A coordinator whose door wants tokens."""
    name = f"t{uuid4().hex[:8]}"
    world = World(coordinator_database, open_broker(f"memory://{name}"), name).start()
    world.register(order())
    for participant in ("inventory", "payments"):
        world.participant(participant)
    door = House(world, tokens=TOKENS)
    yield door
    door.close()
    world.close()


def client_of(house: House, role: str = "operate") -> Client:
    return Client("shop", url=house.server.url, token=SECRETS[role], retry_s=1)


def test_a_schedule_is_added_looked_at_paused_resumed_and_removed(house: House) -> None:
    schedules = client_of(house).schedules

    added = schedules.add(
        "nightly", cron="0 3 * * *", timezone="Europe/Berlin", saga=order(), input=INPUT, version=1,
        labels={"shop": "north"}, missed="all", reason="reports",
    )  # fmt: skip
    again = schedules.add(
        "nightly", cron="0 3 * * *", timezone="Europe/Berlin", saga="place-order", input=INPUT, version=1,
        labels={"shop": "north"}, missed="all",
    )  # fmt: skip

    assert added == again == schedules.get("nightly")
    assert schedules.list() == [added]
    assert (added.saga, added.version, added.missed, added.created_by) == (
        "place-order", 1, "all", "operate-token",
    )  # fmt: skip
    paused = schedules.pause("nightly", "stocktaking")
    assert paused.paused_at is not None
    assert paused.next_due_at is None
    assert schedules.resume("nightly", "done").next_due_at == added.next_due_at
    assert schedules.remove("nightly", "over").name == "nightly"
    assert schedules.list() == []
    audited = "SELECT string_agg(reason, ' ' ORDER BY id) FROM amends.audit WHERE act LIKE 'schedule%'"
    assert house.world.value(audited) == "reports stocktaking done over"


def test_a_schedule_fires_and_tells_it(house: House) -> None:
    """A Saga that makes a key makes none here (S4). Guard: `takes_key` in Schedules.add."""
    house.world.register(KEYED)
    schedules = client_of(house).schedules
    schedules.add("hourly", cron="0 * * * *", saga=KEYED, input={"sku": "tea"})

    make_due(house.world, "hourly")
    eventually(lambda: schedules.get("hourly").fired_runs, what="a run")

    run = schedules.get("hourly")
    assert run.last_saga is not None
    assert client_of(house).wait(run.last_saga, 20).completed
    with pytest.raises(InvalidInput, match=r"arg\.number"):
        client_of(house).start_http(KEYED, {})


def test_what_cannot_be_is_told(house: House) -> None:
    schedules = client_of(house).schedules
    schedules.add("nightly", cron="0 3 * * *", saga="place-order", input=INPUT)

    for wrong, status in (({"cron": "0 4 * * *"}, 409), ({"cron": "never"}, 422)):
        with pytest.raises(CoordinatorRefused) as refused:
            schedules.add(**{"name": "nightly", "saga": "place-order", "input": INPUT, **wrong})  # type: ignore[arg-type]
        assert refused.value.status == status
    with pytest.raises(UnknownSaga, match="not registered"):
        schedules.add("other", cron="0 3 * * *", saga="nobody-knows", input=None)
    with pytest.raises(InvalidInput, match="sku"):
        schedules.add("other", cron="0 3 * * *", saga="place-order", input={"sku": 7, "amount": 1})
    for wanted in (
        schedules.get,
        lambda name: schedules.pause(name, "x"),
        lambda name: schedules.remove(name, "x"),
    ):
        with pytest.raises(CoordinatorRefused, match="no-such") as refused:
            wanted("no-such")
        assert refused.value.status == 404
    house.http("operate").post("/definitions/place-order/suspend", json={"reason": "prices"})
    with pytest.raises(SagaSuspended):
        schedules.add("other", cron="0 3 * * *", saga="place-order", input=INPUT)
    with pytest.raises(CoordinatorRefused) as refused:
        client_of(house, "start").schedules.pause("nightly", "x")
    assert refused.value.status == 403
