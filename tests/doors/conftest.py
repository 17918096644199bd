"""Doors on a running coordinator: real PostgreSQL, real sockets, participants scripted on the in-process broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from tests.doors.house import TOKENS, House, order
from tests.engine.world import World
from tests.servers.postgres import PostgresServer


@pytest.fixture
def make_house(coordinator_database: Engine) -> Iterator[Callable[..., House]]:
    """Makes coordinators with doors on one database; all are stopped afterwards."""
    houses: list[House] = []

    def make(prefix: str | None = None, **how: object) -> House:
        name = prefix or f"t{uuid4().hex[:8]}"
        world = World(coordinator_database, open_broker(f"memory://{name}"), name).start()
        houses.append(House(world, **how))  # type: ignore[arg-type]
        return houses[-1]

    yield make
    for house in houses:
        house.close()
        house.world.close()


@pytest.fixture(scope="module")
def shared_house(postgres: PostgresServer, coordinator_template: str) -> Iterator[House]:
    """As `house`, for all tests of a module that only ask and leave nothing behind that others could see."""
    url = postgres.create_database(coordinator_template)
    database = open_engine(url)
    name = f"t{uuid4().hex[:8]}"
    world = World(database, open_broker(f"memory://{name}"), name).start()
    world.register(order())
    world.participant("inventory")
    world.participant("payments")
    shared = House(world, tokens="")
    yield shared
    shared.close()
    world.close()
    database.dispose()
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def guarded(shared_house: House) -> Iterator[House]:
    """A second door to the shared house, with one token per role."""
    door = House(shared_house.world, tokens=TOKENS)
    yield door
    door.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A coordinator that knows the order saga, with both its participants; its door wants no token."""
    made = make_house()
    made.world.register(order())
    made.world.participant("inventory")
    made.world.participant("payments")
    return made
