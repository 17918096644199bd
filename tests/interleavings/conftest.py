"""A town all tests of this folder share: each test has sagas of its own in it, and no test holds another's messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine
from amends.db.participant import create
from amends.outbox.broker import open_broker
from tests.interleavings.services import ExternalService, Service
from tests.interleavings.town import Town
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer

MakeDatabase = Callable[..., Engine]
MakeTown = Callable[..., Town]


@contextmanager
def databases(postgres: PostgresServer) -> Iterator[MakeDatabase]:
    """Makes databases, and drops them afterwards."""
    made: list[tuple[Engine, str]] = []

    def make(template: str) -> Engine:
        url = postgres.create_database(template)
        made.append((open_engine(url), url))
        return made[-1][0]

    yield make
    for engine, url in made:
        engine.dispose()
        postgres.drop_database(url)


@contextmanager
def towns(rabbit: RabbitServer, make_database: MakeDatabase, template: str) -> Iterator[MakeTown]:
    """Makes towns, and closes them afterwards."""
    broker = open_broker(rabbit.url)
    made: list[Town] = []

    def make(database: Engine | None = None, **settings: object) -> Town:
        town = Town(database or make_database(template), broker, f"t{uuid4().hex[:10]}", **settings)
        made.append(town)
        return town

    yield make
    for town in made:
        town.close()
    broker.close()
    for town in made:
        rabbit.forget(f"{town.prefix}.")


@pytest.fixture
def make_database(postgres: PostgresServer) -> Iterator[MakeDatabase]:
    """Makes databases from a template, for one test."""
    with databases(postgres) as make:
        yield make


@pytest.fixture
def make_town(
    rabbit: RabbitServer, make_database: MakeDatabase, coordinator_template: str
) -> Iterator[MakeTown]:
    """Makes towns for one test: settings of the coordinator, or a database it is to use."""
    with towns(rabbit, make_database, coordinator_template) as make:
        yield make


@pytest.fixture(scope="package")
def shared_town(
    postgres: PostgresServer,
    rabbit: RabbitServer,
    coordinator_template: str,
    participant_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """Payments on PostgreSQL, inventory on SQLite, shipping with an outside carrier."""
    sqlite = open_engine(f"sqlite:///{tmp_path_factory.mktemp('inventory') / 'inventory.sqlite'}")
    create(sqlite)
    with (
        databases(postgres) as make_database,
        towns(rabbit, make_database, coordinator_template) as make_town,
    ):
        shared = make_town().start()
        payments = Service(
            "payments", {"charge": "refund", "notify": None}, make_database(participant_template)
        )
        # Commands that wait for each other wait long, so that a slow machine changes nothing.
        shared.add(payments, lock_timeout_s=10)
        shared.add(Service("inventory", {"charge": "refund", "reserve": "release", "notify": None}, sqlite))
        shared.add(ExternalService("shipping", {"dispatch": "recall"}, make_database(participant_template)))
        yield shared
    sqlite.dispose()


@pytest.fixture
def town(shared_town: Town) -> Iterator[Town]:
    """The town everybody shares; what a test held or muted in it ends with the test."""
    yield shared_town
    shared_town.network.calm_down()
