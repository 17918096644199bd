"""What a lane's threads take: as much as they may, never of two consumers at once."""

from __future__ import annotations

from uuid import uuid4

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Consumer, Delivery
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.lane import Lane
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from tests.outbox.driving import outgoing, received

QUEUE = "lane"


@pytest.fixture
def broker() -> Broker:
    return open_broker(f"memory://{uuid4().hex}")


def lane(broker: Broker, most: int) -> Lane:
    """Not started: its receiver and threads are played by hand."""
    return Lane(
        "do",
        broker,
        QUEUE,
        lambda *_: None,
        DatabaseGate(lambda: None),
        Stopwatch(60.0, lambda: None),
        threads=1,
        prefetch=10,
        time_limit_s=60.0,
        batch=BatchSize(most),
    )


def arrived(broker: Broker, count: int) -> tuple[Consumer, list[Delivery]]:
    """A consumer of its own, and what it was given."""
    consumer = broker.consumer([QUEUE], prefetch=count)
    publisher = broker.publisher()
    consumer.receive(0)
    publisher.publish(outgoing([Message(routing_key=QUEUE, type="test", body=b"{}") for _ in range(count)]))
    return consumer, received(consumer, count)


def test_what_a_later_consumer_brought_is_left_for_the_next_who_takes(broker: Broker) -> None:
    """B8: a thread was held up while the lane connected anew. Guard: the consumer is read with each delivery; one that
    was read before made its deliveries look like an earlier one's, and dropped them.
    """
    under_test = lane(broker, most=10)
    earlier, gone_back = arrived(broker, 2)
    later, fresh = arrived(broker, 1)
    for consumer, deliveries in ((earlier, gone_back), (later, fresh)):
        under_test._waiting.extend((consumer, one) for one in deliveries)

    first = under_test._take(10)
    called = under_test._calls.qsize()
    second = under_test._take(10)

    assert first == (earlier, gone_back)
    assert called == 1
    assert second == (later, fresh)


def test_who_leaves_something_calls_the_next(broker: Broker) -> None:
    under_test = lane(broker, most=2)
    consumer, deliveries = arrived(broker, 3)
    under_test._waiting.extend((consumer, one) for one in deliveries)

    assert under_test._take(2) == (consumer, deliveries[:2])
    assert under_test._calls.qsize() == 1
    assert under_test._take(2) == (consumer, deliveries[2:])
    assert under_test._calls.qsize() == 1
    assert under_test._take(2) == (None, [])
