"""A worker's door for monitors: ready or not, and one set of numbers for several processes (invariant 17)."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port
from amends.demo.config import child_environment
from amends.outbox.metrics import OutboxGauges
from amends.outbox.storage import OutboxStats
from amends.participants.scraping.metrics import served
from tests.participants.conftest import CoordinatorOf
from tests.participants.coordinator import command
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

ROOT = Path(__file__).parents[2]
NOTHING = OutboxGauges(lambda: OutboxStats(0, 0.0, 0, 0), broker_up=lambda: True, database_up=lambda: True)


def asked(port: int, path: str) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def answered(port: int) -> float:
    """How many commands were answered, by the numbers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith("amends_participant_commands_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_ready_is_who_has_all_that_it_needs() -> None:
    standing = {"database": True, "broker": False}
    with served(0, NOTHING, lambda: standing, host="127.0.0.1") as port:
        assert asked(port, "/readyz") == (503, {"status": "waiting", "database": "up", "broker": "away"})
        standing["broker"] = True
        assert asked(port, "/readyz") == (200, {"status": "ready", "database": "up", "broker": "up"})
        assert asked(port, "/healthz") == (200, {"status": "alive"})


def test_a_port_that_is_taken_is_told() -> None:
    with (
        served(0, NOTHING, host="127.0.0.1") as port,
        pytest.raises(OSError, match="in use"),
        served(port, NOTHING, host="127.0.0.1"),
    ):
        raise AssertionError("two on one port")


@pytest.fixture
def program(
    module_postgresql: Engine, rabbit: RabbitServer, prefix: str, tmp_path: Path
) -> Iterator[tuple[Guarded, int]]:
    """`amends participant` with two processes that count together, and the port of their door."""
    port, folder = free_port(), tmp_path / "numbers"
    folder.mkdir()
    process = Guarded(
        [
            *(sys.executable, "-m", "amends.db.cli", "participant", "tests.participants.programs:counter"),
            *("--processes", "2", "--threads", "1", "--prefetch", "1", "--metrics-port", str(port)),
        ],
        directory=ROOT,
        log=tmp_path / "log",
        env=child_environment(
            AMENDS_DATABASE_URL=module_postgresql.url.render_as_string(hide_password=False),
            AMENDS_BROKER_URL=rabbit.url,
            AMENDS_PREFIX=prefix,
            PROMETHEUS_MULTIPROC_DIR=str(folder),
        ),
    )
    process.start()
    yield process, port
    process.close()


def test_several_processes_tell_one_set_of_numbers_also_of_those_that_were_killed(
    program: tuple[Guarded, int], coordinator_of: CoordinatorOf
) -> None:
    """Guard: the files of PROMETHEUS_MULTIPROC_DIR; each process's own registry knows only a part."""
    process, port = program
    coordinator = coordinator_of("counter")

    def ready() -> bool:
        try:
            return asked(port, "/readyz")[0] == 200
        except OSError:
            return False

    eventually(ready, what="the first process's door")
    for _ in range(20):
        coordinator.send(command("count_up", 0.05))
    pids = {bytes(coordinator.await_reply(lambda reply: True).result) for _ in range(20)}
    assert len(pids) == 2
    assert answered(port) == 20

    assert process.pid is not None
    for child in psutil.Process(process.pid).children():
        os.kill(child.pid, signal.SIGKILL)
    eventually(ready, what="the door of the process that took its place")
    coordinator.send(command("count_up", 0))
    coordinator.await_reply(lambda reply: True)

    eventually(lambda: answered(port) == 21, what="the numbers of the dead and the living")
