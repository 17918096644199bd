"""`amends coordinator` as a process: starts, serves, stops when told; refuses to start with one clear message."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, step
from amends.coordinator.catalog import Catalog
from amends.coordinator.cli.serve import watch
from tests.doors.house import House, Run
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

SAGAS = """
from amends.coordinator import Saga, chain, step
order = Saga("place-order", chain(step("reserve", to="inventory", undo="release")), version=1)
"""


class Process:
    """A coordinator process and what it said so far."""

    def __init__(self, arguments: list[str], environment: dict[str, str], directory: Path) -> None:
        self._said = directory / f"said-{len(list(directory.iterdir()))}.log"
        self._output = self._said.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "amends.db.cli", "coordinator", *arguments],
            env=environment,
            cwd=directory,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def url(self) -> str:
        """Where it listens, once it does."""

        def look() -> str | None:
            assert self.process.poll() is None, self.said
            found = re.search(r"coordinator_ready.*?(http://[^\s\"]+)", self.said)
            return found.group(1) if found else None

        return eventually(look, what="the coordinator to be ready") or ""

    def exit_status(self, deadline_s: float = 40) -> int:
        return self.process.wait(deadline_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


@pytest.fixture
def serve(
    coordinator_database: Engine, rabbit: RabbitServer, prefix: str, tmp_path: Path
) -> Iterator[Callable[..., Process]]:
    """Starts `amends coordinator ...`; variables by keyword, None takes one away."""
    processes: list[Process] = []
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    own: dict[str, Any] = {
        "AMENDS_DATABASE_URL": coordinator_database.url.render_as_string(hide_password=False),
        "AMENDS_BROKER_URL": rabbit.url,
        "AMENDS_PREFIX": prefix,
        "AMENDS_HTTP_PORT": "0",
    }

    def start(*arguments: str, **variables: str | None) -> Process:
        wanted = {name: value for name, value in {**own, **variables}.items() if value is not None}
        processes.append(Process(list(arguments), {**inherited, **wanted}, tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the logging of this test run alone, which a command run in it would set up anew."""
    monkeypatch.setattr("amends.coordinator.cli.serve.set_up_logging", lambda _format: None)


def test_a_coordinator_registers_serves_and_stops_when_told(
    serve: Callable[..., Process], tmp_path: Path
) -> None:
    (tmp_path / "shop_sagas.py").write_text(SAGAS)
    process = serve("--apply", "shop_sagas:order", AMENDS_LOG_FORMAT="json")
    url = process.url()

    started = httpx.post(f"{url}/sagas", json={"name": "place-order", "input": {}})
    scraped = httpx.get(f"{url}/metrics").text
    process.process.send_signal(signal.SIGTERM)

    assert started.status_code == 201
    assert 'amends_sagas_running{saga="place-order",status="running"} 1.0' in scraped
    assert "amends_outbox_published_total" in scraped
    assert process.exit_status() == 0
    events = [json.loads(line)["event"] for line in process.said.splitlines()]
    assert (
        events.index("definition_applied")
        < events.index("coordinator_ready")
        < events.index("coordinator_stopped")
    )


def test_a_stop_lets_long_polls_go_at_once(serve: Callable[..., Process], tmp_path: Path) -> None:
    """Seen to take the whole grace without the `close` in `_Server.shutdown`."""
    (tmp_path / "shop_sagas.py").write_text(SAGAS)
    process = serve("--apply", "shop_sagas:order")
    url = process.url()
    saga_id = httpx.post(f"{url}/sagas", json={"name": "place-order", "input": {}}).json()["id"]

    with (
        httpx.Client(base_url=url, timeout=DEADLINE_S) as client,
        socket.create_connection(_address(url)) as poll,
    ):
        poll.settimeout(30)
        poll.sendall(
            f"GET /sagas/{saga_id}?wait=60 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        client.get("/healthz")
        process.process.send_signal(signal.SIGTERM)
        answer = b""
        while chunk := poll.recv(65_536):
            answer += chunk

    assert answer.startswith(b"HTTP/1.1 200")
    assert process.exit_status() == 0


def _address(url: str) -> tuple[str, int]:
    parts = httpx.URL(url)
    assert parts.port is not None
    return parts.host, parts.port


GOOD = {
    "AMENDS_DATABASE_URL": "postgresql://amends:sesame@127.0.0.1:9/none",
    "AMENDS_BROKER_URL": "memory://x",
}


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["--host", "0.0.0.0"], GOOD, r"AMENDS_TOKENS.*loopback"),
        ([], {**GOOD, "AMENDS_DATABASE_URL": ""}, r"AMENDS_DATABASE_URL is not set"),
        ([], {**GOOD, "AMENDS_BROKER_URL": "kafka://x:sesame@y"}, r"AMENDS_BROKER_URL.*kafka"),
        ([], {**GOOD, "AMENDS_BROKER_URL": ""}, r"AMENDS_BROKER_URL is not set"),
        (["--apply", "no_such:saga"], GOOD, r"there is no module 'no_such'"),
        ([], GOOD, r"127\.0\.0\.1:9.*away"),
    ],
)
def test_a_start_that_cannot_be_says_why_and_exits_with_1(
    amends: Run,
    unlogged: None,
    arguments: list[str],
    variables: dict[str, str],
    told: str,
) -> None:
    said = amends("coordinator", *arguments, **variables)

    assert (said.status, said.out) == (1, "")
    assert re.search(told, said.err), said.err
    assert "sesame" not in said.err


def here(database: str | Engine, **more: str) -> dict[str, str]:
    """The variables of a coordinator in this process."""
    url = database if isinstance(database, str) else database.url.render_as_string(hide_password=False)
    return {
        "AMENDS_DATABASE_URL": url,
        "AMENDS_BROKER_URL": "memory://serve",
        "AMENDS_HTTP_PORT": "0",
        **more,
    }


def test_a_database_without_the_schema_names_the_command(
    amends: Run, unlogged: None, database_url: str
) -> None:
    said = amends("coordinator", **here(database_url))

    assert said.status == 1
    assert "amends migrate" in said.err


def test_a_port_that_is_taken_names_the_setting(
    amends: Run, unlogged: None, coordinator_database: Engine
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = amends("coordinator", "--port", str(taken.getsockname()[1]), **here(coordinator_database))

    assert said.status == 1
    assert "AMENDS_HTTP_PORT" in said.err


def test_a_version_that_changed_stops_the_start(
    amends: Run,
    unlogged: None,
    coordinator_database: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standing = Saga("place-order", chain(step("reserve", to="inventory", undo="put_back")), version=1)
    Catalog(coordinator_database).register(standing.definition, actor="test")
    (tmp_path / "changed_sagas.py").write_text(SAGAS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    said = amends("coordinator", "--apply", "changed_sagas:order", **here(coordinator_database))

    assert said.status == 1
    assert "raise `version=`" in said.err


def test_a_part_that_died_ends_the_process(house: House) -> None:
    house.world.coordinator.stop()
    with pytest.raises(click.ClickException, match="a thread of the coordinator died"):
        watch(house.world.coordinator, house.server, threading.Event())


def test_a_door_that_died_ends_the_process(house: House) -> None:
    house.server.stop()
    with pytest.raises(click.ClickException, match="the HTTP server died"):
        watch(house.world.coordinator, house.server, threading.Event())
