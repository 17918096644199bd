"""Runs a canvas through Celery and its saga through amends, on the same Celery worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, MetaData

from amends.coordinator import Saga, queries
from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.migrate import migrate
from amends.outbox.broker import open_broker
from amends.participants import Client
from examples.celery_canvas import sagas
from examples.celery_canvas.tasks import app, sums
from examples.celery_workers import celery_workers
from examples.running import running, wait_for_end
from examples.servers import Servers

ALL = (
    sagas.in_turn, sagas.side_by_side, sagas.then_together, sagas.of_each, sagas.of_each_pair, sagas.in_chunks,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """The participant's database and the coordinator's."""

    database: Engine
    coordinator: Engine
    prefix: str

    def answers(self, saga: Saga, given: object) -> list[Any]:
        """Run a saga to its end: what its steps answered, by their items' numbers and then by their places."""
        with transaction(self.database) as connection:
            started = Client(service="sums", prefix=self.prefix).start(connection, saga, given)
        wait_for_end(self.coordinator, [started], 60.0)
        found = queries.find_saga(self.coordinator, UUID(started), steps_max=1_000)
        assert isinstance(found, queries.Detail)
        steps = sorted(found.steps, key=lambda step: [int(word) for word in step.path.split("/")[1:]])
        return [json.loads(step.result) for step in steps if step.result is not None]


@contextmanager
def world(at: Servers) -> Iterator[World]:
    """Coordinator, participant and a Celery worker, until the block ends."""
    with ExitStack() as stack:
        coordinator, database = open_engine(at.database()), open_engine(url := at.database())
        for engine in (coordinator, database):
            stack.callback(engine.dispose)
        migrate(coordinator, "coordinator")
        participant_tables.create(database)
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)
        queue, results = f"{at.prefix}.canvas", f"db+{at.database()}"
        app.conf.update(broker_url=at.broker_url, result_backend=results, task_default_queue=queue)
        stack.callback(app.close)
        environment = {
            "CELERY_BROKER_URL": at.broker_url,
            "CANVAS_RESULTS": results,
            "CANVAS_QUEUE": queue,
            "SUMS_DATABASE_URL": url,
        }
        stack.enter_context(
            running(
                coordinator, {"sums": database}, broker,
                prefix=at.prefix, sagas=ALL, participants=[sums], tables=MetaData(),
            )
        )  # fmt: skip
        stack.enter_context(celery_workers("examples.celery_canvas.tasks", queue, broker, 1, environment))
        yield World(database, coordinator, at.prefix)
