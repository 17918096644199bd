"""Two coordinators and two workers of one participant at once, one of each told to stop in mid-run (E3, B1)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, step
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.demo.config import child_environment
from tests.interleavings import programs
from tests.interleavings.conftest import MakeTown
from tests.interleavings.town import Town, Trip
from tests.outbox.rows import ids, owners
from tests.participants.shop import count, metadata
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
SAGAS: Final = 80
ORDER = Saga(
    "order",
    chain(
        step("charge", to="payments", undo=None, timeout="60s"),
        step("notify", to="payments", undo=None, timeout="60s"),
    ),
    version=1,
)


class Program:
    """A running `amends` command and what it logs."""

    def __init__(self, process: Guarded, log: Path) -> None:
        self.process = process
        self._log = log

    def await_event(self, event: str) -> dict[str, object]:
        """The first record of this event."""

        def look() -> dict[str, object] | None:
            lines = self._log.read_text().splitlines() if self._log.exists() else []
            records = (json.loads(line) for line in lines if line.startswith("{"))
            return next((one for one in records if one["event"] == event), None)

        try:
            return eventually(look, what=event) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; its log ends: {tail(self._log)}") from None

    def terminate(self) -> None:
        """Ask it to stop."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGTERM)


StartProgram = Callable[..., Program]


@pytest.fixture
def start_program(rabbit: RabbitServer, tmp_path: Path) -> Iterator[StartProgram]:
    """Starts `amends ...` for a town; nothing of it outlives the test."""
    processes: list[Guarded] = []

    def start(town: Town, database: Engine, *arguments: str) -> Program:
        log = tmp_path / f"{arguments[0]}.log"
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", *arguments],
            directory=ROOT,
            log=log,
            env=child_environment(
                AMENDS_DATABASE_URL=database.url.render_as_string(hide_password=False),
                AMENDS_BROKER_URL=rabbit.url,
                AMENDS_PREFIX=town.prefix,
                AMENDS_LOG_FORMAT="json",
            ),
        )
        processes.append(process)
        process.start()
        return Program(process, log)

    yield start
    for process in processes:
        process.close()


def test_one_of_each_pair_stops_in_mid_run_and_hands_its_work_back(
    make_town: MakeTown, participant_database: Engine, start_program: StartProgram
) -> None:
    """Nothing waits for a timeout: all was handed back at once, so no step is asked twice.

    Guards: `forget_owner` in owners.py: Owner.stop (its rows would wait until it is found dead); the signal handlers
    in worker.py: Worker._run_here.
    """
    metadata.create_all(participant_database)
    town = make_town().start()
    town.world.register(ORDER)
    worker = programs.payments.worker(
        database=participant_database, broker=town.network, prefix=town.prefix, service="payments", grace_s=5
    )
    worker.start()
    coordinator = start_program(town, town.world.database, "coordinator", "--port", str(free_port()))
    other = start_program(town, participant_database, "participant", "tests.interleavings.programs:payments")
    coordinator.await_event("coordinator_ready")
    other.await_event("worker_started")

    with ThreadPoolExecutor(SAGAS) as pool:
        trips = list(pool.map(lambda _: Trip(town, ORDER.name, uuid4().hex).start(), range(SAGAS)))
    eventually(lambda: ended(town) >= SAGAS // 8, what="work to be under way")
    assert ended(town) < SAGAS, "all was done before anybody was told to stop"
    other.terminate()
    coordinator.terminate()
    assert other.await_event("worker_stopped")["finished"] is True
    coordinator.await_event("coordinator_stopped")

    eventually(lambda: ended(town) == SAGAS, what="every saga to end")
    worker.stop()
    assert {
        count(participant_database, kind, trip.id) for trip in trips for kind in ("charge", "notify")
    } == {1}
    assert town.world.value("SELECT max(attempt) FROM amends.step") == 1
    assert town.world.value("SELECT count(*) FROM amends.saga WHERE status <> 'completed'") == 0
    eventually(town.world.drained, what="the coordinator's outbox to be empty")
    assert (ids(participant_database), owners(participant_database)) == ([], set())


def ended(town: Town) -> int:
    """How many sagas have ended."""
    return int(town.world.value("SELECT count(*) FROM amends.saga WHERE ended_at IS NOT NULL"))
