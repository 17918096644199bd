"""Fixtures of the participant tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from amends.db.engines import open_engine
from amends.db.participant import create
from amends.outbox.ports import Broker
from amends.participants import Participant
from amends.participants.metrics import ParticipantMetrics
from amends.participants.worker.worker import Worker
from tests.participants.coordinator import FakeCoordinator
from tests.participants.shop import metadata
from tests.servers.mariadb import MariaServer
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def module_postgresql(postgres: PostgresServer) -> Iterator[Engine]:
    """A PostgreSQL database with a participant's tables that the tests of a module share, each with its own saga."""
    url = postgres.create_database()
    engine = open_engine(url)
    create(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def module_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A SQLite file likewise."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'service.sqlite'}")
    create(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def module_mariadb(mariadb: MariaServer) -> Iterator[Engine]:
    """A MariaDB database likewise."""
    url = mariadb.create_database()
    engine = open_engine(url)
    create(engine)
    metadata.create_all(engine)
    yield engine
    engine.dispose()
    mariadb.drop_database(url)


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def database(
    request: pytest.FixtureRequest, module_postgresql: Engine, module_mariadb: Engine, module_sqlite: Engine
) -> Engine:
    """Each database the barrier works on. Tests keep apart by saga."""
    return {"postgresql": module_postgresql, "mariadb": module_mariadb, "sqlite": module_sqlite}[
        request.param
    ]


@pytest.fixture(params=["postgresql", "mariadb"])
def server_database(
    request: pytest.FixtureRequest, module_postgresql: Engine, module_mariadb: Engine
) -> Engine:
    """Each on which transactions meet row by row."""
    return {"postgresql": module_postgresql, "mariadb": module_mariadb}[request.param]


StartWorker = Callable[..., Worker]
CoordinatorOf = Callable[[str], FakeCoordinator]


@pytest.fixture
def worker_database(module_postgresql: Engine) -> Engine:
    """What `start_worker` works on unless it is told. Modules may have another."""
    return module_postgresql


@pytest.fixture
def start_worker(worker_database: Engine, broker: Broker, prefix: str) -> Iterator[StartWorker]:
    """Starts embedded workers on a database of the module and the shared RabbitMQ; stops them afterwards."""
    workers: list[Worker] = []

    def start(participant: Participant, **settings: Any) -> Worker:
        given: dict[str, Any] = {
            "database": worker_database,
            "broker": broker,
            "prefix": prefix,
            "grace_s": 5,
            "metrics": ParticipantMetrics(CollectorRegistry()),
        }
        worker = participant.worker(**{**given, **settings})
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def coordinator_of(broker: Broker, prefix: str) -> Iterator[CoordinatorOf]:
    """Makes the other side of a participant's wire."""
    made: list[FakeCoordinator] = []

    def make(participant: str) -> FakeCoordinator:
        made.append(FakeCoordinator(broker, prefix, participant))
        return made[-1]

    yield make
    for coordinator in made:
        coordinator.close()
