"""Doors on a running coordinator: real PostgreSQL, real sockets, participants scripted on the in-process broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.cli import main
from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker
from tests.doors.house import TOKENS, House, Run, Said, order
from tests.engine.world import World
from tests.servers.postgres import PostgresServer


@pytest.fixture
def make_house(coordinator_database: Engine) -> Iterator[Callable[..., House]]:
    """Makes coordinators with doors on one database; all are stopped afterwards."""
    houses: list[House] = []

    def make(
        prefix: str | None = None,
        broker: Broker | None = None,
        settings: dict[str, object] | None = None,
        **how: object,
    ) -> House:
        name = prefix or f"t{uuid4().hex[:8]}"
        broker = broker or open_broker(f"memory://{name}")
        world = World(coordinator_database, broker, name, **settings or {}).start()
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


@pytest.fixture
def amends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `amends ...` in this process, with these variables alone."""

    def run(*arguments: str, url: str | None = None, token: str | None = None, **variables: str) -> Said:
        for name in [name for name in os.environ if name.startswith("AMENDS_")]:
            monkeypatch.delenv(name)
        for name, given in {**variables, "AMENDS_URL": url, "AMENDS_TOKEN": token}.items():
            if given is not None:
                monkeypatch.setenv(name, given)
        monkeypatch.setattr(sys, "argv", ["amends", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
            sys.exit(0)
        said = capsys.readouterr()
        status = left.value.code
        return Said(status if isinstance(status, int) else 0 if status is None else 1, said.out, said.err)

    return run
