"""Whether it lives, whether it can serve, its numbers; and what every door says while the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from amends.db.engines import open_engine
from amends.db.migrate import migrate
from amends.db.private_postgres import PrivatePostgres
from amends.outbox.broker import open_broker
from tests.doors.house import INPUT, House, order, problem
from tests.engine.world import World
from tests.waiting import eventually


@pytest.fixture
def private_house(private_postgres: PrivatePostgres) -> Iterator[House]:
    """A house on a PostgreSQL of its own."""
    database = open_engine(private_postgres.url())
    migrate(database, "coordinator")
    name = f"t{uuid4().hex[:8]}"
    world = World(database, open_broker(f"memory://{name}"), name).start()
    world.register(order())
    house = House(world)
    yield house
    house.close()
    world.close()
    database.dispose()


def test_a_process_lives_and_is_ready(house: House) -> None:
    eventually(lambda: house.world.coordinator.status().broker_up, what="the broker to be connected")

    lives, ready = house.http().get("/healthz"), house.http().get("/readyz")

    assert (lives.status_code, lives.json()["status"]) == (200, "ok")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "database": "up", "broker": "up"})


def test_while_the_database_is_away_every_door_says_so_and_then_goes_on(
    private_house: House, private_postgres: PrivatePostgres
) -> None:
    """A process lives, and is not ready; requests are answered 503 with the mend; nothing needs a restart."""
    house, http = private_house, private_house.http()
    private_postgres.stop()

    answers = {
        path: http.request(method, path, json=body)
        for method, path, body in [
            ("GET", "/sagas", None),
            ("GET", f"/sagas/{uuid4()}", None),
            ("GET", f"/sagas/{uuid4()}/timeline", None),
            ("GET", f"/sagas/{uuid4()}?wait=1", None),
            ("GET", "/definitions", None),
            ("GET", "/outbox", None),
            ("POST", "/definitions", {"definition": order(version=2).definition.to_json()}),
            ("POST", "/outbox/retry", {"reason": "x"}),
            ("POST", "/sagas", {"name": "place-order", "input": INPUT}),
            ("POST", f"/sagas/{uuid4()}/retry", {"reason": "x"}),
        ]
    }
    for path, answer in answers.items():
        assert problem(answer)[:2] == (503, "database_unavailable"), path
        assert answer.headers["retry-after"] == "1"
        assert "postgres" not in answer.text, "an answer told the database's address"
    assert http.get("/healthz").status_code == 200
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, "away")
    metrics = http.get("/metrics")
    assert metrics.status_code == 200
    assert "amends_database_up 0.0" in metrics.text
    assert "amends_outbox_pending" not in metrics.text

    private_postgres.start()

    house.world.participant("inventory")
    house.world.participant("payments")
    started = eventually(
        lambda: (
            answer.json()
            if (answer := http.post("/sagas", json={"name": "place-order", "input": INPUT})).status_code
            == 201
            else None
        ),
        what="a start to be accepted again",
    )
    assert house.ended(started["id"])["status"] == "completed"
    assert http.get("/readyz").status_code == 200


def test_a_database_without_the_schema_is_not_ready(house: House) -> None:
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE amends.version")

    ready = house.http().get("/readyz")

    assert (ready.status_code, ready.json()["database"]) == (503, "outdated: run `amends migrate`")


def test_a_stopped_engine_is_stalled(house: House) -> None:
    house.world.coordinator.stop()

    answer = house.http().get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (503, "stalled")
