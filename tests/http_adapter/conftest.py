"""A worker of an HTTP participant on SQLite and an in-process broker, and the other side of its wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from amends.outbox.broker import open_broker
from amends.participants import Participant
from amends.participants.metrics import ParticipantMetrics
from tests.participants.coordinator import FakeCoordinator

Serve = Callable[[Participant], FakeCoordinator]


@pytest.fixture
def serve(sqlite_database: Engine) -> Iterator[Serve]:
    """Starts a worker for a participant; gives what sends it commands. Stops them afterwards."""
    stops: list[Callable[[], object]] = []

    def start(participant: Participant) -> FakeCoordinator:
        broker = open_broker(f"memory://{uuid4()}")
        coordinator = FakeCoordinator(broker, "t", participant.name)
        worker = participant.worker(
            database=sqlite_database,
            broker=broker,
            prefix="t",
            metrics=ParticipantMetrics(CollectorRegistry()),
        )
        worker.start()
        stops.extend((worker.stop, coordinator.close, broker.close))
        return coordinator

    yield start
    for stop in stops:
        stop()
