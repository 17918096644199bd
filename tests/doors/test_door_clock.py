"""A door whose clock is not the database's: durations are from the time that the sagas have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, step
from amends.outbox.broker import open_broker
from tests.doors.house import House
from tests.engine.clocks import stepped_clock
from tests.engine.world import World

HOUR_S = 3_600


@pytest.fixture
def house(coordinator_database: Engine) -> Iterator[House]:
    """Its door is an hour behind the database that it and the engine use; its one command is not answered."""
    with stepped_clock(coordinator_database) as clock:
        clock.step(HOUR_S)
        name = f"t{uuid4().hex[:8]}"
        world = World(clock.database, open_broker(f"memory://{name}"), name).start()
        house = House(world)
        world.register(Saga("ask", step("ask", to="bank", undo="forget", timeout="10m"), version=1))
        world.participant("bank", lambda _: None).script = lambda _: None
        yield house
        house.close()
        world.close()


def in_database(house: House) -> datetime:
    with house.doors.connect() as connection:
        moment: datetime = connection.exec_driver_sql("SELECT now()").scalar_one()
        return moment


def due(house: House, kind: str, **params: str) -> list[datetime]:
    found: list[dict[str, Any]] = (
        house.http().get("/timers", params={"kind": kind, **params}).json()["timers"]
    )
    return [datetime.fromisoformat(one["due_at"]) for one in found]


def test_durations_are_from_the_databases_now(house: House) -> None:
    """Guards: `in_ms` in ActItem.at, and now() in the conditions of both lists; with the door's own clock the deadline
    has "passed already", what is moved is due at once, and both lists leave out what they should show.
    """
    saga_id = str(house.http().post("/sagas", json={"name": "ask", "input": None}).json()["id"])
    house.world.participants["bank"].wait_for("do", "ask")
    now = in_database(house)

    body = {"reason": "more time", "in": "5m"}
    moved = house.http().post(f"/sagas/{saga_id}/timers/move", json=body)
    assert moved.status_code == 200, moved.text
    (deadline,) = due(house, "deadline")
    assert 290 < (deadline - now).total_seconds() < 360

    moved = house.http().post(f"/sagas/{saga_id}/timers/move", json={**body, "path": "ask"})
    assert moved.status_code == 200, moved.text
    (timeout,) = due(house, "timeout", within="7m")
    assert 290 < (timeout - now).total_seconds() < 360

    shown = house.http().get("/sagas", params={"older": "1ms"}).json()["sagas"]
    assert [one["id"] for one in shown] == [saga_id]
