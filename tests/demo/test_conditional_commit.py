"""Conditional commit: a hundred inserts into three databases, all of them or none (examples/conditional_commit)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.outbox.ports import Broker
from examples.conditional_commit.serving import World, served
from examples.conditional_commit.tasks import Run
from tests.servers.postgres import PostgresServer

ALL = {"north": 33, "south": 34, "archive": 33}
NONE = {"north": 0, "south": 0, "archive": 0}


@pytest.fixture
def world(
    postgres: PostgresServer,
    coordinator_database: Engine,
    participant_database: Engine,
    sqlite_database: Engine,
    broker: Broker,
    prefix: str,
) -> Iterator[World]:
    url = postgres.create_database()
    second = open_engine(url)
    participant_tables.create(second)
    databases = {"north": participant_database, "south": second, "archive": sqlite_database}
    with served(coordinator_database, databases, broker, prefix=prefix) as world:
        yield world
    second.dispose()
    postgres.drop_database(url)


def status_of(world: World, saga: str) -> tuple[str, str | None]:
    with transaction(world.coordinator) as connection:
        row = connection.execute(
            text("SELECT status, error FROM amends.saga WHERE id = :id"), {"id": saga}
        ).one()
    return row[0], row[1]


def test_without_a_failing_task_all_hundred_are_committed(world: World) -> None:
    saga = world.start(Run(run="all"))
    world.wait(saga)

    assert status_of(world, saga)[0] == "completed"
    assert world.counts("all") == ALL


def test_a_division_by_zero_in_task_50_takes_all_hundred_back(world: World) -> None:
    saga = world.start(Run(run="none", failing=50))
    world.wait(saga)

    status, error = status_of(world, saga)
    assert status == "compensated"
    assert error is not None
    assert "task 50: division by zero" in error or "task 50: float division by zero" in error
    assert world.counts("none") == NONE


def test_several_runs_side_by_side_do_not_disturb_each_other(world: World) -> None:
    runs = [Run(run=f"run {number}", failing=50 if number % 2 else 0) for number in range(6)]

    world.wait(*(world.start(run) for run in runs))

    assert {run.run: world.counts(run.run) for run in runs} == {
        run.run: NONE if run.failing else ALL for run in runs
    }
