"""What the example runs on: a coordinator, the three participants' workers, and two Celery workers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, func, select

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.guarded import Guarded
from amends.db.migrate import migrate
from amends.db.private_postgres import free_port
from amends.outbox.broker import open_broker
from amends.participants import Client
from examples.celery_commit.tasks import app, metadata, participants, rows
from examples.celery_workers import ROOT, celery_workers
from examples.servers import Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The databases by participant's name, the coordinator's, its HTTP, and the Celery workers, to be killed."""

    databases: dict[str, Engine]
    coordinator: Engine
    client: Client
    celery: list[Guarded]

    def count(self, run: str, *, committed: bool) -> int:
        """How many rows of a run stand in all databases."""
        total = 0
        for database in self.databases.values():
            with transaction(database) as connection:
                counted = select(func.count()).select_from(rows)
                counted = counted.where(rows.c.run == run, rows.c.committed == committed)
                total += connection.execute(counted).scalar_one()
        return total


@contextmanager
def served(at: Servers) -> Iterator[World]:
    """Everything up, until the block ends, however it ends."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {
            "north": at.database(),
            "south": at.database(),
            "archive": f"sqlite:///{directory / 'archive'}",
        }
        databases = {name: open_engine(url) for name, url in urls.items()}
        coordinator = open_engine(coordinator_url := at.database())
        for engine in (coordinator, *databases.values()):
            stack.callback(engine.dispose)
        migrate(coordinator, "coordinator")
        for engine in databases.values():
            participant_tables.create(engine)
            metadata.create_all(engine)
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)
        queue = f"{at.prefix}.tasks"
        app.conf.task_default_queue = queue  # Where the participants' workers hand their commands over to.
        port = free_port()
        settings = {
            "AMENDS_DATABASE_URL": coordinator_url,
            "AMENDS_BROKER_URL": at.broker_url,
            "AMENDS_PREFIX": at.prefix,
        }
        decider = Guarded(
            [
                *(sys.executable, "-m", "amends.db.cli", "coordinator", "--port", str(port)),
                *("--apply", "examples.celery_commit.tasks:celery_commit"),
            ],
            directory=ROOT,
            log=directory / "coordinator.log",
            env={**os.environ, **settings},
        )
        stack.callback(decider.close)
        decider.start()
        for participant in participants:
            worker = participant.worker(
                database=databases[participant.name], broker=broker, prefix=at.prefix, undo_threads=4
            )
            worker.start()
            stack.callback(worker.stop)
        environment = {f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()}
        environment["CELERY_BROKER_URL"] = at.broker_url
        celery = stack.enter_context(
            celery_workers("examples.celery_commit.tasks", queue, broker, 2, environment)
        )
        client = Client("north", prefix=at.prefix, url=f"http://127.0.0.1:{port}")
        yield World(databases=databases, coordinator=coordinator, client=client, celery=celery)
