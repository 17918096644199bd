"""`kill -9` around the commit that fires a schedule: its instant is fired, once, whichever side the blow falls (S4)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from amends.db.crashpoints import CRASH_POINTS
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.demo.config import child_environment
from amends.demo.databases import url_of
from amends.outbox.ports import Broker
from tests.engine.scheduled import SWEEP, add, found, make_due, sagas
from tests.engine.world import World
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

POINTS: Final = [point for point in CRASH_POINTS if point.startswith("coordinator.schedule.")]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_around_the_commit_fires_the_instant_once(
    coordinator_database: Engine,
    rabbit: RabbitServer,
    broker: Broker,
    prefix: str,
    tmp_path: Path,
    point: str,
) -> None:
    """Before it nothing happened; after it the saga is there, and what nobody published is swept (O2)."""
    world = World(
        coordinator_database, broker, prefix
    )  # Never started: it only looks, and answers for payments.
    world.participant("payments")
    world.register(SWEEP)
    add(world)
    due = make_due(world)

    def coordinator(name: str, crash_at: str | None = None) -> Guarded:
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", "coordinator", "--port", str(free_port())],
            directory=tmp_path,
            log=tmp_path / f"{name}.log",
            env=child_environment(
                AMENDS_DATABASE_URL=url_of(coordinator_database),
                AMENDS_BROKER_URL=rabbit.url,
                AMENDS_PREFIX=prefix,
                **({"AMENDS_CRASH_AT": crash_at} if crash_at else {}),
            ),
        )
        process.start()
        return process

    dying = coordinator("dying", crash_at=point)
    eventually(lambda: not dying.alive(), 30, what=f"it to come to {point}: {tail(tmp_path / 'dying.log')}")
    dying.close()
    left = sagas(world)
    living = coordinator("living")
    try:
        eventually(lambda: sagas(world), 30, what=f"the instant to be fired: {tail(tmp_path / 'living.log')}")
        (saga_id,) = sagas(world)
        world.wait_for(saga_id, "completed", 60)
    finally:
        living.close()
        world.close()

    assert left == ([] if point.endswith("before") else [saga_id])
    fired = found(world)
    assert (fired.fired_runs, fired.missed_runs, fired.failed_runs, fired.last_due) == (1, 0, 0, due)
    assert {command.saga for command in world.participants["payments"].received} == {saga_id}
