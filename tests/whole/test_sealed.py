"""A saga whose every message is signed and coded; what a stranger puts into the queues changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from amends.db import participant as participant_tables
from amends.db.engines import open_engine
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Outgoing, coordinator_queue, dead_letter_queue
from amends.outbox.sealing import Seal, SigningKeys
from examples.conditional_commit.serving import World, served
from examples.conditional_commit.tasks import Run
from tests.outbox.test_sealing import Reversing
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

SEAL = Seal(keys=SigningKeys({"one": b"1" * 32}), codec=Reversing())


@pytest.fixture
def world(
    postgres: PostgresServer,
    coordinator_database: Engine,
    participant_database: Engine,
    sqlite_database: Engine,
    rabbit: RabbitServer,
    prefix: str,
) -> Iterator[World]:
    url = postgres.create_database()
    second = open_engine(url)
    participant_tables.create(second)
    databases = {"north": participant_database, "south": second, "archive": sqlite_database}
    broker = open_broker(rabbit.url, seal=SEAL)
    with served(coordinator_database, databases, broker, prefix=prefix) as world:
        yield world
    broker.close()
    second.dispose()
    postgres.drop_database(url)


def test_sagas_complete_and_are_amended_under_a_seal(world: World) -> None:
    done, undone = world.start(Run(run="done")), world.start(Run(run="undone", failing=50))

    world.wait(done, undone)

    assert world.counts("done") == {"north": 33, "south": 34, "archive": 33}
    assert world.counts("undone") == {"north": 0, "south": 0, "archive": 0}


def test_an_unsigned_start_is_put_aside_and_starts_nothing(
    world: World, rabbit: RabbitServer, prefix: str
) -> None:
    """Guard: `delivery.fault` in `coordinator/engine/reading.py`; nothing is sent to where its headers say."""
    stranger = open_broker(rabbit.url)
    start = wire.Start(
        saga=wire.saga_id_of("conditional-commit", "forged"), name="conditional-commit", input={}, sent_at=1
    )
    forged = Message(
        routing_key=coordinator_queue(prefix),
        type=wire.START,
        body=wire.encode(start),
        headers={wire.HEADER_ROW: "1", wire.HEADER_RECEIPT_TO: f"{prefix}.receipts.north"},
    )
    publisher = stranger.publisher()

    publisher.publish([Outgoing(1, forged)])
    publisher.settled(5.0)
    letters = stranger.consumer([dead_letter_queue(prefix)], prefetch=10)
    (letter,) = eventually(lambda: letters.receive(0.5), what="the dead letter")

    assert letter.headers["amends-reason"] == "no signature"
    assert rabbit_ready(stranger, f"{prefix}.receipts.north") == 0
    letters.ack([letter.tag])
    letters.close()
    publisher.close()
    world.wait(world.start(Run(run="after")))
    assert world.counts("after") == {"north": 33, "south": 34, "archive": 33}


def rabbit_ready(broker: Broker, queue: str) -> int:
    """How many messages wait in a queue."""
    state = broker.look([queue], timeout_s=5.0)[queue]
    return 0 if state is None else state.ready
