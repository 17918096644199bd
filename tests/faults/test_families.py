"""Parents, children and signals over coordinators that are killed and a broker that is wiped (K1 to K5, S1, O1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, chain, wait
from tests.faults.families import ENDS, Families, families, sent
from tests.interleavings.conftest import databases
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import PrivateRabbit
from tests.waiting import eventually

# The third visit: in the middle of something, also right after a start.
POINTS: Final = [
    f"coordinator.{point}:3"
    for point in ("commit.before", "commit.after", "publish.before", "receipt.before", "ack.before")
]
UNDER_WAY: Final = 15  # sagas
TWICE: Final = Saga("twice", chain(wait("first", signal="go"), wait("second", signal="go")), version=1)


@pytest.fixture
def town(
    postgres: PostgresServer,
    private_rabbit: PrivateRabbit,
    coordinator_database: Engine,
    participant_template: str,
    tmp_path: Path,
) -> Iterator[Families]:
    """Families on a broker of their own."""
    with (
        databases(postgres) as make_database,
        families(
            coordinator_database, lambda: make_database(participant_template), private_rabbit.url, tmp_path
        ) as built,
    ):
        yield built


def some_ended(town: Families, more: int) -> None:
    """Let some more sagas end, so that what follows strikes in the middle of work."""
    wanted = town.ended() + more
    eventually(lambda: town.ended() >= wanted, what=f"{wanted} sagas to have ended")


def die_in_turn(town: Families) -> None:
    """Of two coordinators one after the other kills itself, while families come."""
    points, names = list(POINTS), ("one", "two")
    for name in names:
        town.start(name, points.pop(0))
    alive = set(names)

    def dead() -> list[str]:
        town.pass_deadlines()
        if 2 * len(town.all) - town.ended() < UNDER_WAY:
            town.found()
        return [name for name in alive if not town.running(name)]

    while alive:
        for name in eventually(dead, what=f"one of {alive} to die"):
            town.end(name)
            alive.discard(name)
            if points:
                town.start(name, points.pop(0))
                alive.add(name)


def signal_through_a_death(town: Families) -> tuple[list[str], str]:
    """Over HTTP, to a coordinator that dies after its commit; then the same to another. What that says; the saga."""
    world = town.world
    world.register(TWICE)
    with town.shop.database.begin() as connection:
        saga = town.shop.client.start(connection, TWICE, {}, key=uuid4().hex)
    world.wait_for(saga, "running")
    town.shop.drains()
    eventually(world.drained, what="nothing but the signal to come")
    town.end_all()
    town.start("dying", "coordinator.commit.after")
    path, key = f"/sagas/{saga}/signals/go", {"Idempotency-Key": "go-1"}

    def there(name: str) -> bool:
        try:
            return httpx.get(f"{town.urls[name]}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    eventually(lambda: there("dying"), what="the door to open")
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{town.urls['dying']}{path}", json=1, headers=key)
    town.end("dying")
    town.start("one")
    eventually(lambda: there("one"), what="the other door to open")
    told = [httpx.post(f"{town.urls['one']}{path}", json=1, headers=key).json()["outcome"] for _ in range(2)]
    assert world.state(saga).steps["second"].phase == "waiting"
    told.append(httpx.post(f"{town.urls['one']}{path}", json=2).json()["outcome"])
    return told, saga


@pytest.mark.timeout(300)
def test_families_and_signals_live_through_kills_and_wipes(
    town: Families, private_rabbit: PrivateRabbit
) -> None:
    """Invariants 1 to 5 and 16, K1 to K5, S1: every child comes to its parent's end, and effects balance.

    The signals come with the starts, before there is a child. Guards: `needs_receipt=True` in client.py: Client (what
    only the broker has is lost with it); `step.took` in signals._is_copy.
    """
    die_in_turn(town)

    # Everything is in the broker alone: starts, signals, and what parents and children tell each other.
    town.found()
    eventually(lambda: sent(town), what="starts and signals that only the broker holds")
    private_rabbit.wipe()
    for name in ("one", "two"):
        town.start(name)
    some_ended(town, 4)
    town.found()
    private_rabbit.wipe()
    town.end("two", kill=True)
    town.wait_until_ended(120)

    told, saga = signal_through_a_death(town)
    assert told == ["duplicate", "duplicate", "accepted"]
    assert [town.world.state(saga).steps[name].result for name in ("first", "second")] == [1, 2]

    town.end_all()
    for family in town.all:
        assert town.end_of(family) == ENDS[family.kind], family
        # What made a deadline pass is in no log.
        for one in (family.child, *((family.parent,) if family.kind != "fenced" else ())):
            assert town.world.replayed(one) == town.world.state(one)
    assert town.world.value("SELECT count(*) FROM amends.quarantine") == 0
