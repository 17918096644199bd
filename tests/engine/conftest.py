"""A coordinator on real PostgreSQL, its participants scripted; the broker in-process unless a test names RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.outbox.broker import open_broker
from tests.engine.world import World


@pytest.fixture
def make_world(coordinator_database: Engine) -> Iterator[Callable[..., World]]:
    """Makes worlds on one coordinator database; all are stopped afterwards."""
    worlds: list[World] = []

    def make(broker: object | None = None, prefix: str | None = None, **settings: object) -> World:
        name = f"t{uuid4().hex[:8]}"
        world = World(
            coordinator_database, broker or open_broker(f"memory://{name}"), prefix or name, **settings
        )
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One running coordinator with the in-process broker."""
    return make_world().start()
