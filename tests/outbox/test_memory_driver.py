"""What is particular to the broker inside the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker, Fate, Topology
from tests.outbox.driving import empty, fates, message, outgoing, received, settlements
from tests.waiting import DEADLINE_S


@pytest.fixture
def broker() -> Iterator[Broker]:
    opened = open_broker(f"memory://{uuid4().hex}")
    opened.declare(Topology(queues=frozenset({"queue"})))
    yield opened
    opened.close()


def test_the_same_name_is_the_same_broker_and_another_is_another() -> None:
    name = uuid4().hex
    one, two, other = (
        open_broker(f"memory://{name}"),
        open_broker(f"memory://{name}"),
        open_broker("memory://"),
    )
    consumer = one.consumer(["queue"], prefetch=1)

    two.publisher().publish(outgoing([message("queue", b"hello")]))

    assert received(consumer, 1)[0].body == b"hello"
    nowhere = other.publisher()
    nowhere.publish(outgoing([message("queue")]))
    assert fates(settlements(nowhere, 1)) == {1: Fate.RETURNED}
    for opened in (one, other):
        opened.close()


def test_a_closed_broker_is_forgotten_by_name() -> None:
    url = f"memory://{uuid4().hex}"
    first = open_broker(url)
    first.close()

    second = open_broker(url)

    assert second is not first
    first.close()
    assert open_broker(url) is second
    second.close()


def test_a_confirm_is_the_consumers_acknowledgement(broker: Broker) -> None:
    """Design 7: a row may go only when its message was dealt with; nothing else here would remember it."""
    publisher, consumer = broker.publisher(), broker.consumer(["queue"], prefetch=10)

    publisher.publish(outgoing([message("queue")]))
    (delivery,) = received(consumer, 1)
    assert publisher.settled(0.05) == []
    consumer.requeue([delivery.tag])
    (again,) = received(consumer, 1)
    assert publisher.settled(0.05) == []
    consumer.ack([again.tag])

    assert fates(settlements(publisher, 1)) == {1: Fate.CONFIRMED}


def test_a_message_lost_with_its_consumer_is_neither_confirmed_nor_lost(broker: Broker) -> None:
    publisher, consumer = broker.publisher(), broker.consumer(["queue"], prefetch=10)
    publisher.publish(outgoing([message("queue")]))
    received(consumer, 1)

    consumer.close()

    assert publisher.settled(0.05) == []
    assert publisher.pending == 1
    second = broker.consumer(["queue"], prefetch=10)
    second.ack([received(second, 1)[0].tag])
    assert fates(settlements(publisher, 1)) == {1: Fate.CONFIRMED}


def test_what_is_handed_back_keeps_its_place(broker: Broker) -> None:
    publisher, consumer = broker.publisher(), broker.consumer(["queue"], prefetch=3)
    publisher.publish(outgoing([message("queue", b"%d" % number) for number in range(5)]))
    first, second, third = received(consumer, 3)

    consumer.requeue([third.tag])
    consumer.requeue([first.tag])
    again = received(consumer, 2)

    assert [one.body for one in again] == [b"0", b"2"]
    consumer.ack([one.tag for one in (second, *again)])
    assert [one.body for one in received(consumer, 2)] == [b"3", b"4"]


def test_an_expired_message_that_nobody_consumes_is_confirmed_too(broker: Broker) -> None:
    publisher = broker.publisher()
    publisher.publish(outgoing([message("queue", expiration_ms=50), message("queue")]))

    assert fates(settlements(publisher, 1)) == {1: Fate.CONFIRMED}
    assert publisher.pending == 1


def test_the_answers_for_a_closed_publisher_go_nowhere(broker: Broker) -> None:
    publisher, consumer = broker.publisher(), broker.consumer(["queue"], prefetch=10)
    publisher.publish(outgoing([message("queue")]))
    publisher.close()

    consumer.ack([received(consumer, 1)[0].tag])

    assert publisher.settled(0.05) == []
    assert publisher.pending == 0


def test_a_waiting_consumer_gets_a_message_at_once(broker: Broker) -> None:
    """kombu's `memory://` looks every so often. Fails without `notify` in `MemoryQueue.put`."""
    publisher, consumer = broker.publisher(), broker.consumer(["queue"], prefetch=1)
    taken_at: list[float] = []
    waiting = threading.Thread(
        target=lambda: taken_at.extend(time.monotonic() for _ in consumer.receive(2 * DEADLINE_S))
    )
    waiting.start()
    empty(broker.consumer(["queue"], prefetch=1), for_s=0.1)

    sent_at = time.monotonic()
    publisher.publish(outgoing([message("queue")]))
    waiting.join(DEADLINE_S)

    assert taken_at
    assert taken_at[0] - sent_at < DEADLINE_S


def test_many_threads_publish_and_consume_and_every_message_is_settled_once(broker: Broker) -> None:
    publishers, consumers, each = 3, 3, 400
    taken: list[list[bytes]] = [[] for _ in range(consumers)]
    confirmed: list[dict[int, Fate]] = []
    done = threading.Event()

    def publish(number: int) -> None:
        publisher = broker.publisher()
        for start in range(0, each, 50):
            batch = [message("queue", b"%d-%d" % (number, one)) for one in range(start, start + 50)]
            publisher.publish(outgoing(batch, first=start))
        confirmed.append(fates(settlements(publisher, each)))

    def consume(number: int) -> None:
        consumer = broker.consumer(["queue"], prefetch=20)
        while not done.is_set():
            deliveries = consumer.receive(0.05)
            sent_back = [one.tag for one in deliveries if one.tag % 7 == 0 and not one.redelivered]
            taken[number] += [one.body for one in deliveries if one.tag not in sent_back]
            consumer.requeue(sent_back)
            consumer.ack([one.tag for one in deliveries if one.tag not in sent_back])
        consumer.close()

    working = [threading.Thread(target=publish, args=(number,)) for number in range(publishers)]
    consuming = [threading.Thread(target=consume, args=(number,)) for number in range(consumers)]
    for thread in (*working, *consuming):
        thread.start()
    for thread in working:
        thread.join(DEADLINE_S)
    done.set()
    for thread in consuming:
        thread.join(DEADLINE_S)

    assert [set(found.values()) for found in confirmed] == [{Fate.CONFIRMED}] * publishers
    bodies = [body for one in taken for body in one]
    assert len(bodies) == len(set(bodies)) == publishers * each
