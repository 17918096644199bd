"""A process that sends from memory, in a test: it commits rows under its owner and offers them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from amends.outbox.message import Message, OutboxRow, new_message_id
from amends.outbox.ports import Broker, Delivery, Topology
from amends.outbox.sender import Sender, SenderLimits
from tests.outbox.driving import confirmed, empty, message, received
from tests.outbox.rows import STORE, stored
from tests.waiting import DEADLINE_S


@contextmanager
def started(database: Engine, broker: Broker, *queues: str, **options: Any) -> Iterator[Sender]:
    """A sender that runs; stopped afterwards."""
    broker.declare(Topology(queues=frozenset(queues)))
    sender = Sender(broker, STORE, database, label="a test", **options)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


def offered(database: Engine, sender: Sender, messages: Sequence[Message]) -> list[OutboxRow]:
    """Commit rows under the sender's owner, and offer them."""
    rows = stored(database, messages, sender.owner)
    sender.offer(rows)
    return rows


def never_idle(**limits: Any) -> SenderLimits:
    """The sender deletes nothing by itself."""
    return SenderLimits(**{"idle_s": 3_600, **limits})


def arrived(broker: Broker, queue: str, count: int, deadline_s: float = DEADLINE_S) -> list[Delivery]:
    """Take exactly so many messages from a queue; fails if more come with them."""
    consumer = broker.consumer([queue], prefetch=5_000)
    try:
        deliveries = received(consumer, count, deadline_s)
        consumer.ack(delivery.tag for delivery in deliveries)
        return deliveries
    finally:
        consumer.close()


def nothing_arrives(broker: Broker, queue: str, for_s: float = 0.3) -> bool:
    """Whether nothing comes out of a queue for a while."""
    consumer = broker.consumer([queue], prefetch=10)
    try:
        return empty(consumer, for_s)
    finally:
        consumer.close()


def all_that_arrived(broker: Broker, queue: str, deadline_s: float = DEADLINE_S) -> list[Delivery]:
    """Take everything out of a queue of RabbitMQ, up to a message put behind it for this."""
    last = message(queue, message_id=new_message_id())
    consumer, publisher = broker.consumer([queue], prefetch=5_000), broker.publisher()
    deliveries: list[Delivery] = []
    deadline = time.monotonic() + deadline_s
    try:
        confirmed(publisher, [last])
        while not any(delivery.message_id == last.message_id for delivery in deliveries):
            assert time.monotonic() < deadline, f"{queue} does not hand out what it holds"
            some = consumer.receive(0.5)
            deliveries += some
            consumer.ack(delivery.tag for delivery in some)
        return [delivery for delivery in deliveries if delivery.message_id != last.message_id]
    finally:
        consumer.close()
        publisher.close()
