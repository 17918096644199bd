"""Fixtures of the tests of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from amends.db.engines import open_engine
from amends.db.participant import create
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker
from tests.events.world import World
from tests.participants.shop import metadata

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer


@pytest.fixture(params=["rabbitmq and postgresql", "memory and sqlite"])
def world(
    request: pytest.FixtureRequest, rabbit: RabbitServer, prefix: str, tmp_path: Path
) -> Iterator[World]:
    """A service on each broker and on each database."""
    broker: Broker
    if request.param == "memory and sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'service.sqlite'}")
        create(engine)
        broker = open_broker(f"memory://{prefix}")
    else:
        engine = request.getfixturevalue("participant_database")
        broker = open_broker(rabbit.url)
    metadata.create_all(engine)
    made = World(engine, broker, prefix)
    yield made
    made.close()
    broker.close()
    if request.param == "memory and sqlite":
        engine.dispose()


@pytest.fixture
def rabbit_world(rabbit: RabbitServer, prefix: str, participant_database: Engine) -> Iterator[World]:
    """A service on RabbitMQ and PostgreSQL."""
    metadata.create_all(participant_database)
    broker = open_broker(rabbit.url)
    made = World(participant_database, broker, prefix)
    yield made
    made.close()
    broker.close()
