"""Celery's side of the tests: one project of ordinary tasks with its database and its worker, shared by all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, text

from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker
from tests.celery.working import CeleryWorker
from tests.participants.coordinator import FakeCoordinator
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually


def libpq(engine: Engine) -> str:
    """The URL of an engine's database as psycopg takes it."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def task_prefix(rabbit: RabbitServer) -> Iterator[str]:
    """With what the names of the project's queues begin."""
    name = f"c{uuid4().hex[:10]}"
    yield name
    rabbit.forget(f"{name}.")


@pytest.fixture(scope="session")
def task_database(postgres: PostgresServer, participant_template: str) -> Iterator[Engine]:
    """A database with a participant's tables, to which the project's tasks write."""
    url = postgres.create_database(participant_template)
    engine = open_engine(url)
    yield engine
    engine.dispose()
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def environment(rabbit: RabbitServer, task_prefix: str, task_database: Engine) -> Iterator[dict[str, str]]:
    """What tells the project where its servers are; set for this process, too."""
    values = {
        "AMENDS_TEST_CELERY_BROKER": rabbit.url,
        "AMENDS_TEST_CELERY_PREFIX": task_prefix,
        "AMENDS_TEST_CELERY_DATABASE": libpq(task_database),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield values


@pytest.fixture(scope="session")
def project(environment: dict[str, str]) -> Iterator[Any]:
    """The Celery project; its table is made. Celery keeps apps for good: it is imported once."""
    module = import_module("tests.celery.project")
    with psycopg.connect(environment["AMENDS_TEST_CELERY_DATABASE"]) as connection:
        connection.execute(module.TABLE)
    yield module
    module.app.close()


@pytest.fixture(scope="session")
def steps(environment: dict[str, str]) -> Iterator[Any]:
    """The participant whose commands are tasks; its table is made."""
    module = import_module("tests.celery.steps")
    with psycopg.connect(environment["AMENDS_TEST_CELERY_DATABASE"]) as connection:
        connection.execute(module.TABLE)
    yield module
    module.app.close()


@pytest.fixture
def start_worker(
    environment: dict[str, str], broker: Broker, tmp_path: Path
) -> Iterator[Callable[..., CeleryWorker]]:
    """Starts Celery workers: `start_worker("tests.celery.project", [queue], pool="prefork")`; ended afterwards."""
    started: list[CeleryWorker] = []

    def start(app: str, queues: list[str], **options: Any) -> CeleryWorker:
        log = tmp_path / f"celery-{len(started)}.log"
        given = {**environment, **options.pop("environment", {})}
        worker = CeleryWorker(app, queues, environment=given, log=log, **options)
        started.append(worker)
        worker.await_ready(broker)
        return worker

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture(scope="session")
def working(
    project: Any, environment: dict[str, str], rabbit: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    """An ordinary prefork worker on the project's queues."""
    worker = CeleryWorker(
        "tests.celery.project",
        [f"{project.PREFIX}.{name}" for name in ("classic", "quorum", "topic")],
        environment=environment,
        log=tmp_path_factory.mktemp("celery") / "worker.log",
        pool="prefork",
    )
    broker = open_broker(rabbit.url)
    try:
        worker.await_ready(broker)
        yield worker
    finally:
        broker.close()
        worker.kill()


class Told:
    """What tasks wrote down."""

    def __init__(self, url: str) -> None:
        self._url = url

    def by(self, task_id: str) -> list[dict[str, Any]]:
        """What the task of this id told, each time it ran."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute("SELECT told FROM told WHERE task_id = %s ORDER BY id", (task_id,))
            return [row[0] for row in rows]

    def await_by(self, task_id: str, deadline_s: float = 60) -> dict[str, Any]:
        """What the task of this id tells, once it has."""
        return eventually(lambda: self.by(task_id), deadline_s, f"the task {task_id}")[0]


@pytest.fixture
def told(project: Any, environment: dict[str, str]) -> Told:
    """What the project's tasks wrote down."""
    return Told(environment["AMENDS_TEST_CELERY_DATABASE"])


class Ledger:
    """What stands in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, saga: str) -> list[str]:
        """The effects of a saga, in order."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                text("SELECT what FROM entry WHERE saga = :saga ORDER BY id"), {"saga": saga}
            )
            return [row[0] for row in rows]

    def pids(self, saga: str) -> list[int]:
        """By which processes."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                text("SELECT pid FROM entry WHERE saga = :saga ORDER BY id"), {"saga": saga}
            )
            return [row[0] for row in rows]


@pytest.fixture
def entries(steps: Any, task_database: Engine) -> Ledger:
    return Ledger(task_database)


@pytest.fixture
def coordinator(steps: Any, broker: Broker, prefix: str) -> Iterator[FakeCoordinator]:
    coordinator = FakeCoordinator(broker, prefix, "ledger")
    yield coordinator
    coordinator.close()


@pytest.fixture
def worker(steps: Any, task_database: Engine, broker: Broker, prefix: str) -> Iterator[Any]:
    """The participant's own worker, with one thread for `do`."""
    worker = steps.ledger.worker(database=task_database, broker=broker, prefix=prefix, threads=1)
    worker.start()
    yield worker
    worker.stop()
