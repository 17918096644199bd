"""A database, and clients that call over the shared RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from amends.outbox.ports import Broker
from amends.participants import Client, Participant
from amends.participants.metrics import ParticipantMetrics
from amends.participants.worker.worker import Worker

StartWorker = Callable[..., Worker]
MakeClient = Callable[..., Client]


@pytest.fixture
def start_worker(participant_database: Engine, broker: Broker, prefix: str) -> Iterator[StartWorker]:
    """Starts embedded workers on this test's database and the shared RabbitMQ; stops them afterwards."""
    workers: list[Worker] = []

    def start(participant: Participant, **settings: Any) -> Worker:
        given: dict[str, Any] = {
            "database": participant_database,
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
def make_client(broker: Broker, prefix: str) -> Iterator[MakeClient]:
    """Makes clients; closes them afterwards."""
    made: list[Client] = []

    def make(service: str = "shop", **options: Any) -> Client:
        made.append(Client(service, **{"prefix": prefix, "broker": broker, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()
