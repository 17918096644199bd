"""Schedules in a world: added with few words, made due at a chosen instant, looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import text

from amends.coordinator import Saga, arg, step
from amends.coordinator.schedules import standing
from amends.coordinator.schedules.missed import Missed
from amends.coordinator.schedules.records import Schedule, Wanted
from amends.db.engines import transaction
from tests.engine.world import World
from tests.waiting import eventually

# Never due by itself while a test runs.
YEARLY = "0 0 1 1 *"


class Amount(msgspec.Struct):
    amount: int


SWEEP = Saga(
    "sweep",
    step("charge", to="payments", undo="refund", args={"amount": arg.amount}),
    version=1,
    input=Amount,
)


def wanted(name: str = "nightly", **fields: Any) -> Wanted:
    """A schedule of the saga `sweep`, once a year unless told otherwise."""
    given: dict[str, Any] = {
        "cron": YEARLY,
        "timezone": "UTC",
        "saga": "sweep",
        "version": None,
        "input": {"amount": 3},
        "labels": {},
        "missed": Missed.ONCE,
    }
    return Wanted(name=name, **{**given, **fields})


def add(world: World, name: str = "nightly", **fields: Any) -> bool | standing.Unstartable:
    """Add a schedule."""
    return standing.add(world.database, world.coordinator.catalog, wanted(name, **fields), actor="test")


def seconds_ago(seconds: float = 1.0) -> datetime:
    """An instant so long ago, on a whole second."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)


def make_due(
    world: World, name: str = "nightly", *, ago_s: float = 1.0, at: datetime | None = None
) -> datetime:
    """Make a schedule due at an instant, or so many seconds ago; returns the instant."""
    due = at or seconds_ago(ago_s)
    with transaction(world.database) as connection:
        made = connection.execute(
            text("UPDATE amends.schedule SET next_due = :due WHERE name = :name"), {"due": due, "name": name}
        )
        assert made.rowcount == 1, f"no schedule {name}"
    return due


def found(world: World, name: str = "nightly") -> Schedule:
    """A schedule as it stands."""
    return standing.find(world.database, name)


def wait_until_fired(world: World, name: str = "nightly", runs: int = 1) -> Schedule:
    """The schedule once it has fired so often."""
    eventually(lambda: found(world, name).fired_runs >= runs, what=f"{name} to fire {runs} times")
    return found(world, name)


def sagas(world: World, name: str = "nightly") -> list[str]:
    """The ids of the sagas that a schedule started, by instant."""
    with world.database.connect() as connection:
        rows = connection.execute(
            text("SELECT id FROM amends.saga WHERE labels->>'schedule' = :name ORDER BY labels->>'due'"),
            {"name": name},
        )
        return [str(row[0]) for row in rows]
