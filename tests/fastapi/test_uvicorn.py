"""An application under uvicorn on real servers: its transactions, its worker, and what is left when it is killed."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from amends.outbox.wire import Outcome
from examples.fastapi_shop.programs import uvicorn
from tests.fastapi.conftest import Notes, Serve, environment
from tests.outbox.rows import rows
from tests.participants.coordinator import FakeCoordinator, command
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

DRIVERS = ["postgresql+psycopg", "postgresql+asyncpg"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_commits_is_sent_and_what_does_not_never_is(
    serve: Serve, notes: Notes, participant_database: Engine, driver: str
) -> None:
    """On each kind of session: one note, one that is rolled back, one whose request is cancelled in mid-transaction."""
    app = serve(SERVED_DRIVER=driver)
    sent = []
    for kind in ("sessions", "connections", "scoped"):
        for then, status in (("", 200), ("fail", 418), ("hang", 500)):
            number = f"{kind}-{then or 'kept'}"
            assert httpx.post(f"{app.url}/{kind}/{number}", params={"then": then}).status_code == status
        sent.append(f"{kind}-kept")

    for number in sent:
        notes.await_number(number)
    eventually(lambda: not rows(participant_database), what="an empty outbox")

    assert sorted(notes.look()) == sorted(sent)


@pytest.mark.parametrize("then", ["die", "die after"])
def test_an_application_killed_around_its_commit_has_sent_all_or_nothing(
    serve: Serve, notes: Notes, participant_database: Engine, then: str
) -> None:
    """Killed before the COMMIT there is nothing to send; right after it another copy's relay sends."""
    killed = serve(SERVED_RELAY="no")

    with pytest.raises(httpx.TransportError):
        httpx.post(f"{killed.url}/sessions/killed", params={"then": then}, timeout=30)
    stored = rows(participant_database)
    other = serve()
    httpx.post(f"{other.url}/sessions/other").raise_for_status()

    notes.await_number("other")
    if then == "die after":
        assert [row.correlation_id for row in stored] == ["killed"]
        notes.await_number("killed")
    else:
        assert stored == []
        assert notes.look() == ["other"]


def test_a_command_under_way_is_finished_before_the_application_ends(
    serve: Serve, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    """Seen to fail without `beside.stop()` in the lifespan: the process left in the middle of the handler."""
    app, gate = serve(), tmp_path / "gate"
    sent = coordinator.send(command("work", str(gate)))
    eventually(gate.with_suffix(".began").exists, what="the handler's begin")

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(app.stop)
        eventually(lambda: "waiting for application shutdown" in app.log.lower(), what="the shutdown")
        with pytest.raises(TimeoutError):
            ending.result(timeout=1)  # It waits for the handler.
        gate.touch()
        status = ending.result()

    reply = coordinator.await_reply(lambda one: one.saga == sent.saga)
    assert (reply.outcome, status) == (Outcome.DONE, -signal.SIGTERM)


def test_a_command_that_takes_longer_than_the_grace_goes_back_and_another_copy_obeys_it(
    serve: Serve, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    app, gate = serve(SERVED_GRACE_S="0.2"), tmp_path / "gate"
    sent = coordinator.send(command("work", str(gate)))
    eventually(gate.with_suffix(".began").exists, what="the handler's begin")

    app.stop()
    gate.touch()
    serve()

    assert coordinator.await_reply(lambda one: one.saga == sent.saga).outcome is Outcome.DONE


def test_each_of_several_uvicorn_workers_has_a_worker_of_its_own(
    serve: Serve, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    """Each process holds as many commands as its threads take: with one worker alone, half of them would not begin."""
    serve("--workers", "2")
    gate = tmp_path / "gate"

    sent = [coordinator.send(command("work", f"{gate}{number}")) for number in range(8)]
    eventually(lambda: len(list(tmp_path.glob("*.began"))) == 8, what="eight handlers at once")
    for number in range(8):
        Path(f"{gate}{number}").touch()

    replies = [coordinator.await_reply(lambda one, saga=saga.saga: one.saga == saga) for saga in sent]  # type: ignore[misc]
    assert len({bytes(reply.result) for reply in replies}) == 2


def test_a_database_without_tables_stops_the_start_with_the_command_that_mends_it(
    database_url: str, rabbit: RabbitServer, prefix: str, participant_database: Engine
) -> None:
    given = environment(participant_database, rabbit, prefix, AMENDS_DATABASE_URL=database_url)

    with (
        pytest.raises(RuntimeError, match="amends migrate --participant"),
        uvicorn("tests.fastapi.served:app", given),
    ):
        pytest.fail("it must not serve")


def test_a_broker_that_is_away_does_not_keep_it_from_serving_but_from_being_ready(
    rabbit: RabbitServer, prefix: str, participant_database: Engine
) -> None:
    from amends.db.private_postgres import free_port
    from examples.fastapi_shop.programs import Program

    away = f"pyamqp://guest:guest@127.0.0.1:{free_port()}//"
    given = environment(participant_database, rabbit, prefix, AMENDS_BROKER_URL=away)
    port = free_port()

    with Program(["uvicorn", "tests.fastapi.served:app", "--port", str(port)], given, port, "/docs") as app:
        answer = httpx.get(f"{app.url}/health/ready")
        posted = httpx.post(f"{app.url}/sessions/waits")

    assert (answer.status_code, answer.json()["waits_for"]) == (503, ["one: the broker"])
    assert posted.status_code == 200
    assert [row.correlation_id for row in rows(participant_database)] == ["waits"]


def test_with_reload_the_changed_application_takes_over_the_worker(
    rabbit: RabbitServer,
    prefix: str,
    participant_database: Engine,
    coordinator: FakeCoordinator,
    tmp_path: Path,
) -> None:
    """The child that is replaced drains and leaves; the next one obeys."""
    module = tmp_path / "changing.py"
    module.write_text("from tests.fastapi.served import app  # first\n")
    given = environment(participant_database, rabbit, prefix, PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    options = ("--reload", "--reload-dir", str(tmp_path))

    with uvicorn("changing:app", given, *options) as app:
        first = httpx.get(f"{app.url}/health/ready").json()["process"]
        assert int(bytes(coordinator.ask(command("work", "")).result)) == first
        module.write_text("from tests.fastapi.served import app  # second\n")

        def replaced() -> bool:
            try:
                now = httpx.get(f"{app.url}/health/ready", timeout=5)
            except httpx.TransportError:
                return False
            return now.status_code == 200 and now.json()["process"] != first

        eventually(replaced, what="the next process")
        second = httpx.get(f"{app.url}/health/ready").json()["process"]
        assert int(bytes(coordinator.ask(command("work", "")).result)) == second
