"""The door as a server: many who wait take no threads, traces go on, what fails says nothing of its inside."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.doors.house import INPUT, House, problem
from tests.waiting import DEADLINE_S, eventually


def test_two_hundred_long_polls_on_sockets_take_no_threads(house: House) -> None:
    house.world.participants["payments"].script = lambda _: None
    saga_id = house.start_saga()
    command = house.world.participants["payments"].wait_for("do", "charge")
    waiting = house.app.state.door.waiting
    threads: list[int] = []

    def answer() -> None:
        eventually(lambda: len(waiting) == 200, what="200 requests to wait")
        threads.append(threading.active_count())
        house.world.participants["payments"].answer(command)

    async def poll() -> list[dict[str, Any]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=house.server.url, timeout=DEADLINE_S, limits=limits) as client:
            polls = (client.get(f"/sagas/{saga_id}", params={"wait": 50}) for _ in range(200))
            return [(await one).json() for one in [asyncio.create_task(poll) for poll in polls]]

    before = threading.active_count()
    answering = threading.Thread(target=answer)
    answering.start()
    polled = asyncio.run(poll())
    answering.join()

    assert {saga["status"] for saga in polled} == {"completed"}
    # Beside the one that answers there are at most the few that read the database.
    assert threads[0] <= before + 1 + 4


def test_a_start_goes_on_with_its_callers_trace(house: House) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    start = {"name": "place-order", "input": INPUT}

    house.http().post("/sagas", json={**start, "key": "traced"}, headers={"traceparent": trace})
    house.http().post("/sagas", json={**start, "key": "malformed"}, headers={"traceparent": "not one"})

    with house.world.database.connect() as connection:
        sql = "SELECT key, head->>'trace' FROM amends.saga"
        traces = {row[0]: row[1] for row in connection.exec_driver_sql(sql)}
    assert traces == {"traced": trace, "malformed": ""}


def test_what_fails_inside_is_an_answer_that_tells_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE amends.spent_id")

    answer = house.http().get(f"/sagas/{uuid4()}")

    assert problem(answer) == (500, "internal_error", None)
    assert "spent_id" not in answer.text
    assert "door_failed" in caplog.messages


def test_a_statement_that_takes_too_long_is_not_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amends.coordinator.queries.LIMIT_TIME", "SET LOCAL statement_timeout = '50ms'")
    with house.world.database.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE amends.saga IN ACCESS EXCLUSIVE MODE")

        answer = house.http().get("/sagas")

    assert problem(answer) == (503, "database_unavailable", None)


def test_a_door_that_is_full_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.app.state.door.reading, "_waiting_max", 0)

    assert problem(house.http().get("/sagas")) == (503, "not_accepting", None)
    assert house.http().get("/healthz").status_code == 200
