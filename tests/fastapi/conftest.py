"""Applications under uvicorn, and what of theirs arrives at the broker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine

from amends.outbox.ports import Broker, Topology
from examples.fastapi_shop.programs import Program, uvicorn
from tests.participants.coordinator import FakeCoordinator
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

Serve = Callable[..., Program]


def environment(database: Engine, rabbit: RabbitServer, prefix: str, **more: str) -> dict[str, str]:
    """What `tests.fastapi.served` and amends read."""
    return {
        **os.environ,
        "AMENDS_DATABASE_URL": database.url.render_as_string(hide_password=False),
        "AMENDS_BROKER_URL": rabbit.url,
        "AMENDS_PREFIX": prefix,
        **more,
    }


@pytest.fixture
def serve(participant_database: Engine, rabbit: RabbitServer, prefix: str) -> Iterator[Serve]:
    """Runs `tests.fastapi.served:app` under uvicorn, with these variables; gives the program once it is ready."""
    with ExitStack() as stack:

        def start(*options: str, **variables: str) -> Program:
            given = environment(participant_database, rabbit, prefix, **variables)
            return stack.enter_context(uvicorn("tests.fastapi.served:app", given, *options))

        yield start


class Notes:
    """The queue that the application's notes go to."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        queue = f"{prefix}.notes"
        broker.declare(Topology(queues=frozenset({queue})))
        self._consumer = broker.consumer([queue], prefetch=100)
        self._consumer.receive(0.0)
        self.seen: list[str] = []

    def look(self, timeout_s: float = 0.1) -> list[str]:
        """Which numbers have come so far."""
        for delivery in self._consumer.receive(timeout_s):
            self._consumer.ack([delivery.tag])
            self.seen.append(delivery.correlation_id)
        return self.seen

    def await_number(self, number: str) -> None:
        """Wait until this one has come."""
        eventually(lambda: number in self.look(), what=f"the note {number}")

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


@pytest.fixture
def notes(broker: Broker, prefix: str) -> Iterator[Notes]:
    """What arrives."""
    reading = Notes(broker, prefix)
    yield reading
    reading.close()


@pytest.fixture
def coordinator(broker: Broker, prefix: str) -> Iterator[FakeCoordinator]:
    """The other side of the participant `one`."""
    other = FakeCoordinator(broker, prefix, "one")
    yield other
    other.close()
