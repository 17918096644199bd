"""What every driver promises (`outbox/ports.py`), held against each: RabbitMQ, and the broker in the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.drivers.amqp_link import HEARTBEAT_CHECK_S
from amends.outbox.message import HEADER_CONTENT_TYPE
from amends.outbox.ports import Fate, Topology
from tests.outbox.driven import Driver
from tests.outbox.driving import (
    empty,
    fates,
    message,
    outgoing,
    received,
    settlements,
)
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer


@pytest.fixture(params=["rabbitmq", "memory"])
def driver(request: pytest.FixtureRequest, rabbit: RabbitServer, prefix: str) -> Iterator[Driver]:
    url = rabbit.url if request.param == "rabbitmq" else f"memory://{prefix}"
    made = Driver(request.param, open_broker(url), prefix)
    yield made
    for opened in made.opened:
        opened.close()
    made.broker.close()


def test_a_message_arrives_as_it_was_sent(driver: Driver) -> None:
    queue = driver.queue()
    sent = message(
        queue,
        b'{"sum": "12\xe2\x82\xac"}',
        correlation_id="saga-1",
        reply_to="reply.queue",
        headers={"traceparent": "00-ab-cd-01", "größe": "XL", HEADER_CONTENT_TYPE: "application/x+json"},
    )

    driver.publisher().publish(outgoing([sent]))
    (delivery,) = received(driver.consumer(queue), 1)

    assert delivery.queue == queue
    assert delivery.body == sent.body
    assert delivery.size_bytes == len(sent.body)
    assert (delivery.type, delivery.message_id) == ("test.message", sent.message_id)
    assert (delivery.correlation_id, delivery.reply_to) == ("saga-1", "reply.queue")
    assert (delivery.content_type, delivery.content_encoding) == ("application/x+json", "")
    assert delivery.headers == {"traceparent": "00-ab-cd-01", "größe": "XL"}
    assert (delivery.redelivered, delivery.delivery_count) == (False, 0)


def test_what_a_message_leaves_out_is_empty(driver: Driver) -> None:
    queue = driver.queue()

    driver.publisher().publish(outgoing([message(queue, b"")]))
    (delivery,) = received(driver.consumer(queue), 1)

    assert delivery.body == b""
    assert (delivery.correlation_id, delivery.reply_to, delivery.headers) == ("", "", {})
    assert delivery.content_type == "application/json"


def test_a_body_of_many_frames_arrives_whole(driver: Driver) -> None:
    queue = driver.queue()
    body = bytes(range(256)) * 4_000

    driver.publisher().publish(outgoing([message(queue, body), message(queue, b"after")]))

    assert [one.body for one in received(driver.consumer(queue), 2)] == [body, b"after"]


def test_a_consumed_message_is_confirmed_once(driver: Driver) -> None:
    queue = driver.queue()
    publisher, consumer = driver.publisher(), driver.consumer(queue)

    publisher.publish(outgoing([message(queue)], first=7))
    assert publisher.pending == 1
    consumer.ack([received(consumer, 1)[0].tag])
    assert empty(consumer)
    (answer,) = settlements(publisher, 1)

    assert (answer.token, answer.fate, answer.reason) == (7, Fate.CONFIRMED, "")
    assert 0 < answer.confirm_s < DEADLINE_S
    assert publisher.pending == 0
    assert publisher.settled(0.1) == []


def test_messages_keep_their_order(driver: Driver) -> None:
    queue = driver.queue()
    bodies = [b"%d" % number for number in range(500)]
    publisher = driver.publisher()

    for start in range(0, 500, 100):
        publisher.publish(
            outgoing([message(queue, body) for body in bodies[start : start + 100]], first=start)
        )
    consumer = driver.consumer(queue, prefetch=1_000)

    assert [one.body for one in received(consumer, 500)] == bodies


def test_a_message_without_a_queue_is_returned_and_no_other(driver: Driver) -> None:
    queue, nowhere = driver.queue(), f"{driver.prefix}.nowhere"
    publisher, consumer = driver.publisher(), driver.consumer(queue)

    publisher.publish(outgoing([message(queue), message(nowhere), message(queue)]))
    consumer.ack([one.tag for one in received(consumer, 2)])
    assert empty(consumer)

    assert fates(settlements(publisher, 3)) == {1: Fate.CONFIRMED, 2: Fate.RETURNED, 3: Fate.CONFIRMED}


def test_two_copies_of_one_message_are_both_returned(driver: Driver) -> None:
    publisher = driver.publisher()
    copy = message(f"{driver.prefix}.nowhere", message_id="the-same")

    publisher.publish(outgoing([copy, copy]))

    assert fates(settlements(publisher, 2)) == {1: Fate.RETURNED, 2: Fate.RETURNED}


def test_the_same_message_id_may_be_confirmed_here_and_returned_there(driver: Driver) -> None:
    queue, nowhere = driver.queue(), f"{driver.prefix}.nowhere"
    publisher, consumer = driver.publisher(), driver.consumer(queue)

    publisher.publish(outgoing([message(queue, message_id="m"), message(nowhere, message_id="m")]))
    consumer.ack([received(consumer, 1)[0].tag])
    assert empty(consumer)

    assert fates(settlements(publisher, 2)) == {1: Fate.CONFIRMED, 2: Fate.RETURNED}


def test_a_missing_exchange_is_the_fault_of_its_message_alone(driver: Driver) -> None:
    """O4. Fails without `_suspects` in `AmqpPublisher._channel_broke`: then all twenty are blamed or lost."""
    queue = driver.queue()
    publisher, consumer = driver.publisher(), driver.consumer(queue, prefetch=1_000)
    messages = [message(queue, b"%d" % number) for number in range(20)]
    messages[7] = message(queue, exchange=f"{driver.prefix}.missing")

    publisher.publish(outgoing(messages, first=0))
    answers = []
    bodies = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(answers) < 20 and time.monotonic() < deadline:
        answers += publisher.settled(0.05)
        deliveries = consumer.receive(0.05)
        bodies |= {one.body for one in deliveries}
        consumer.ack([one.tag for one in deliveries])

    found = fates(answers)
    assert found.pop(7) is Fate.UNROUTABLE
    assert set(found.values()) == {Fate.CONFIRMED}
    assert bodies == {b"%d" % number for number in range(20)} - {b"7"}
    assert "missing" in next(answer.reason for answer in answers if answer.token == 7)


def test_an_event_that_nobody_is_bound_to_is_confirmed(driver: Driver) -> None:
    """O4: it is dealt with, for it has no subscriber. Guard: `Message.mandatory`; without it, it is RETURNED."""
    exchange = f"{driver.prefix}.events"
    driver.broker.declare(Topology(exchanges=frozenset({exchange})))
    publisher = driver.publisher()

    publisher.publish(outgoing([message("order.placed", exchange=exchange)]))

    assert fates(settlements(publisher, 1)) == {1: Fate.CONFIRMED}


def test_a_queue_declared_later_is_there_for_the_next_message(driver: Driver) -> None:
    publisher = driver.publisher()
    early = driver.queue("early")
    publisher.publish(outgoing([message(early)]))

    late = driver.queue("late")
    publisher.publish(outgoing([message(late)], first=2))

    assert received(driver.consumer(late), 1)


def test_an_acknowledged_message_never_comes_back(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue, b"%d" % number) for number in range(6)]))
    consumer = driver.consumer(queue)
    tags = [one.tag for one in received(consumer, 6)]

    consumer.ack([tags[4], tags[0]])
    assert empty(consumer)
    consumer.ack([tags[1], tags[5]])
    consumer.close()

    assert [one.body for one in received(driver.consumer(queue), 2)] == [b"2", b"3"]


def test_a_message_handed_back_comes_again_and_is_counted(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue)]))
    consumer = driver.consumer(queue)

    seen = []
    for _ in range(3):
        (delivery,) = received(consumer, 1)
        seen.append((delivery.redelivered, delivery.delivery_count))
        consumer.requeue([delivery.tag])

    assert seen == [(False, 0), (True, 1), (True, 2)]


def test_closing_a_consumer_hands_back_what_it_held(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue, b"1"), message(queue, b"2")]))
    consumer = driver.consumer(queue)
    received(consumer, 2)

    consumer.close()
    again = received(driver.consumer(queue), 2)

    assert [one.body for one in again] == [b"1", b"2"]
    assert all(one.redelivered for one in again)


def test_a_tag_is_never_used_again_and_an_old_one_means_nothing(driver: Driver) -> None:
    """Fails without `_earlier` in `AmqpConsumer`: RabbitMQ counts every channel's deliveries from 1."""
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue, b"1"), message(queue, b"2")]))
    consumer = driver.consumer(queue)
    old = {one.tag for one in received(consumer, 2)}

    consumer.close()
    new = {one.tag for one in received(consumer, 2)}
    consumer.ack(old)
    consumer.requeue(old)

    assert not old & new
    assert empty(consumer)
    consumer.close()
    assert len(received(driver.consumer(queue), 2)) == 2


def test_a_tag_that_was_never_given_is_ignored(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue)]))
    consumer = driver.consumer(queue)
    (delivery,) = received(consumer, 1)

    consumer.ack([delivery.tag + 1_000, delivery.tag, delivery.tag])
    consumer.requeue([delivery.tag])

    assert empty(consumer)
    consumer.close()
    assert empty(driver.consumer(queue))


def test_prefetch_bounds_what_is_held_of_each_queue(driver: Driver) -> None:
    one, two = driver.queue("one"), driver.queue("two")
    driver.publisher().publish(outgoing([message(queue) for queue in (one, two) for _ in range(5)]))
    consumer = driver.consumer(one, two, prefetch=2)

    held = received(consumer, 4)
    assert sorted(delivery.queue for delivery in held) == [one, one, two, two]
    assert empty(consumer)

    consumer.ack([held[0].tag])
    (next_one,) = received(consumer, 1)
    assert next_one.queue == held[0].queue


def test_an_acknowledgement_from_another_thread_wakes_the_receiver(driver: Driver) -> None:
    """Fails without `self._wakeup.set()` in `_gather`: then each message waits for the next heartbeat check."""
    queue, count = driver.queue(), 8
    driver.publisher().publish(outgoing([message(queue, b"%d" % number) for number in range(count)]))
    consumer = driver.consumer(queue, prefetch=1)
    (delivery,) = received(consumer, 1)

    waits = []
    for _ in range(count - 1):
        started = time.monotonic()
        threading.Timer(0.05, consumer.ack, args=([delivery.tag],)).start()
        (delivery,) = consumer.receive(DEADLINE_S)
        waits.append(time.monotonic() - started)

    assert min(waits) < HEARTBEAT_CHECK_S / 2, "the others may have met other work on the machine"


def test_a_wake_ends_a_receive_that_waits(driver: Driver) -> None:
    consumer = driver.consumer(driver.queue())
    consumer.receive(0.01)
    waker = threading.Timer(0.05, consumer.wake)
    waker.start()

    started = time.monotonic()
    assert consumer.receive(2 * DEADLINE_S) == []

    assert time.monotonic() - started < DEADLINE_S
    waker.join()


def test_a_wake_ends_a_settled_that_waits(driver: Driver) -> None:
    publisher = driver.publisher()
    publisher.settled(0.01)
    waker = threading.Timer(0.05, publisher.wake)
    waker.start()

    started = time.monotonic()
    assert publisher.settled(2 * DEADLINE_S) == []

    assert time.monotonic() - started < DEADLINE_S
    waker.join()


def test_a_wake_before_the_wait_is_not_lost_and_works_once(driver: Driver) -> None:
    publisher, consumer = driver.publisher(), driver.consumer(driver.queue())
    publisher.wake()
    consumer.wake()

    started = time.monotonic()
    assert publisher.settled(2 * DEADLINE_S) == []
    assert consumer.receive(2 * DEADLINE_S) == []
    assert time.monotonic() - started < DEADLINE_S

    started = time.monotonic()
    assert publisher.settled(0.2) == []
    assert consumer.receive(0.2) == []
    assert time.monotonic() - started >= 0.4


def test_an_expired_message_is_confirmed_and_not_delivered(driver: Driver) -> None:
    queue = driver.queue()
    publisher = driver.publisher()

    publisher.publish(outgoing([message(queue, b"stale", expiration_ms=50)]))
    assert fates(settlements(publisher, 1)) == {1: Fate.CONFIRMED}
    expired = time.monotonic() + 0.1
    while time.monotonic() < expired:
        publisher.settled(0.05)
    publisher.publish(outgoing([message(queue, b"fresh", expiration_ms=60_000)], first=2))

    assert [one.body for one in received(driver.consumer(queue), 1)] == [b"fresh"]


def test_closing_a_publisher_forgets_its_messages_but_not_the_broker(driver: Driver) -> None:
    queue = driver.queue()
    publisher = driver.publisher()
    publisher.publish(outgoing([message(queue, b"1")]))
    publisher.close()
    assert publisher.pending == 0

    publisher.publish(outgoing([message(queue, b"2")], first=2))
    consumer = driver.consumer(queue)
    consumer.ack([one.tag for one in received(consumer, 2)])
    assert empty(consumer)

    assert fates(settlements(publisher, 1)) == {2: Fate.CONFIRMED}


def test_two_consumers_share_a_queue_without_sharing_a_message(driver: Driver) -> None:
    queue = driver.queue()
    consumers = [driver.consumer(queue, prefetch=10) for _ in range(2)]
    for consumer in consumers:
        consumer.receive(0.01)
    driver.publisher().publish(outgoing([message(queue, b"%d" % number) for number in range(100)]))

    bodies: list[bytes] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(bodies) < 100 and time.monotonic() < deadline:
        for consumer in consumers:
            deliveries = consumer.receive(0.05)
            bodies += [one.body for one in deliveries]
            consumer.ack([one.tag for one in deliveries])

    assert sorted(bodies) == sorted(b"%d" % number for number in range(100))


def test_several_threads_may_acknowledge_at_once(driver: Driver) -> None:
    queue = driver.queue()
    driver.publisher().publish(outgoing([message(queue) for _ in range(200)]))
    consumer = driver.consumer(queue, prefetch=200)
    tags = [one.tag for one in received(consumer, 200)]

    threads = [threading.Thread(target=consumer.ack, args=(tags[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert empty(consumer)
    consumer.close()

    assert empty(driver.consumer(queue))
