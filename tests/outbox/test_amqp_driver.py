"""What is particular to RabbitMQ: its queues, foreign messages, broken channels, connections that break."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import amqp
import psutil
import pytest
from kombu.utils.url import parse_url

from amends.outbox.broker import open_broker
from amends.outbox.drivers.amqp import AmqpBroker
from amends.outbox.drivers.amqp_link import Limits
from amends.outbox.drivers.amqp_url import parse_urls
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Fate, Topology
from tests.outbox.driving import (
    empty,
    fates,
    message,
    outgoing,
    received,
    settlements,
    unavailable,
)
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer


@contextmanager
def foreign_channel(rabbit: RabbitServer) -> Iterator[Any]:
    """A channel of py-amqp's own, for what our driver would not do."""
    url = parse_url(rabbit.url)
    connection = amqp.Connection(
        f"{url['hostname']}:{url['port']}",
        url["userid"],
        url["password"],
        virtual_host=url["virtual_host"] or "/",
        # Without confirms RabbitMQ drops what comes before a new queue has its leader.
        confirm_publish=True,
    )
    connection.connect()
    try:
        yield connection.channel()
    finally:
        connection.close()


def declared(broker: Broker, *queues: str) -> None:
    """Declare the queues now."""
    broker.declare(Topology(queues=frozenset(queues)))
    publisher = broker.publisher()
    publisher.settled(0)
    publisher.close()


def test_queues_are_durable_quorum_queues_and_may_be_declared_again(
    rabbit: RabbitServer, broker: Broker, prefix: str
) -> None:
    broker.declare(Topology(exchanges=frozenset({f"{prefix}.events"})))
    declared(broker, f"{prefix}.queue")
    declared(open_broker(rabbit.url), f"{prefix}.queue")

    with foreign_channel(rabbit) as channel, pytest.raises(amqp.PreconditionFailed, match="x-queue-type"):
        channel.queue_declare(f"{prefix}.queue", durable=True, auto_delete=False)
    with foreign_channel(rabbit) as channel:
        channel.exchange_declare(f"{prefix}.events", "topic", durable=True, auto_delete=False)
        channel.queue_declare(
            f"{prefix}.queue", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
        channel.exchange_delete(f"{prefix}.events")


def test_a_queue_that_exists_with_other_properties_is_named_with_the_mend(
    rabbit: RabbitServer, broker: Broker, prefix: str
) -> None:
    with foreign_channel(rabbit) as channel:
        channel.queue_declare(f"{prefix}.queue", durable=True, auto_delete=False)
    consumer = broker.consumer([f"{prefix}.queue"], prefetch=1)

    with pytest.raises(
        BrokerUnavailable, match=rf"quorum queue '{prefix}\.queue' cannot be declared.*delete it"
    ):
        consumer.receive(1)


def test_foreign_messages_are_handed_over_raw_and_break_nothing(
    rabbit: RabbitServer, broker: Broker, prefix: str
) -> None:
    """Neither decompressed nor decoded: a body of 300 KB may be 300 MB. Odd properties are read as far as they go."""
    queue = f"{prefix}.queue"
    declared(broker, queue)
    compressed = b"x\x9c\xed\xc1\x01\x01\x00"
    with foreign_channel(rabbit) as channel:
        for foreign in (
            amqp.Message(compressed, content_encoding="deflate", content_type="application/data"),
            amqp.Message(b"\xff", content_encoding="utf-8", type=b"\xff\xfe"),
            amqp.Message(b"3", application_headers={b"\xff": 1, "compression": "application/x-gzip"}),
            amqp.Message(b"", application_headers={"x-delivery-count": "many"}, timestamp=2**64 - 1),
        ):
            channel.basic_publish(foreign, routing_key=queue)
    consumer = broker.consumer([queue], prefetch=10)

    first, second, third, fourth = received(consumer, 4)

    assert (first.body, first.content_encoding, first.content_type) == (
        compressed,
        "deflate",
        "application/data",
    )
    assert (second.body, second.content_encoding, second.type) == (b"\xff", "utf-8", "\ufffd\ufffd")
    assert third.headers == {"\ufffd": 1, "compression": "application/x-gzip"}
    assert (fourth.body, fourth.delivery_count, fourth.message_id) == (b"", 0, "")
    consumer.ack([one.tag for one in (first, second, third, fourth)])
    assert empty(consumer)
    consumer.close()


def test_of_two_hundred_messages_only_the_two_to_missing_exchanges_are_unroutable(
    broker: Broker, prefix: str
) -> None:
    """O4. A missing exchange closes the channel for all that is in flight; the driver sends those again."""
    queue = f"{prefix}.queue"
    declared(broker, queue)
    publisher = broker.publisher()
    messages = [message(queue, b"%d" % number) for number in range(200)]
    for culprit in (60, 160):
        messages[culprit] = message(queue, exchange=f"{prefix}.missing")

    publisher.publish(outgoing(messages, first=0))
    publisher.publish(outgoing([message(queue, b"200")], first=200))
    answers = settlements(publisher, 201)

    found = fates(answers)
    assert [token for token, fate in found.items() if fate is Fate.UNROUTABLE] == [60, 160]
    assert sum(fate is Fate.CONFIRMED for fate in found.values()) == 199
    assert publisher.pending == 0
    consumer = broker.consumer([queue], prefetch=1_000)
    stored = set()
    while deliveries := consumer.receive(0.5):
        stored |= {int(one.body) for one in deliveries}
        consumer.ack([one.tag for one in deliveries])
    assert stored == set(range(201)) - {60, 160}
    consumer.close()
    publisher.close()


def test_a_message_that_cannot_be_sent_is_too_large_and_harms_no_other(
    rabbit: RabbitServer, prefix: str
) -> None:
    broker = AmqpBroker(parse_urls(rabbit.url), name="amends", limits=Limits(message_bytes_max=10_000))
    queue = f"{prefix}.queue"
    declared(broker, queue)
    publisher = broker.publisher()
    odd: dict[str, Any] = {"thing": object()}

    publisher.publish(
        outgoing(
            [
                message(queue),
                message(queue, b"x" * 10_001),
                message("r" * 300),
                message(queue, headers={"h": "v" * 200_000}),
                message(queue, headers=odd),
                message(queue, b"x" * 10_000),
            ]
        )
    )
    answers = settlements(publisher, 6)

    expected = {1: Fate.CONFIRMED, 6: Fate.CONFIRMED} | dict.fromkeys((2, 3, 4, 5), Fate.TOO_LARGE)
    assert fates(answers) == expected
    assert "10,001 bytes" in next(one.reason for one in answers if one.token == 2)
    publisher.close()


def test_a_deleted_queue_is_declared_again_at_the_next_connect(
    rabbit: RabbitServer, broker: Broker, prefix: str
) -> None:
    """RabbitMQ tells the consumer that it was cancelled; one that ignored this would wait for ever."""
    queue = f"{prefix}.queue"
    consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
    consumer.receive(0)
    with foreign_channel(rabbit) as channel:
        channel.queue_delete(queue)

    unavailable(lambda: consumer.receive(1))
    consumer.receive(0)
    publisher.publish(outgoing([message(queue)]))

    assert len(received(consumer, 1)) == 1
    consumer.close()
    publisher.close()


def test_consumers_that_come_while_a_queue_is_being_made_are_not_turned_away(
    rabbit: RabbitServer, prefix: str
) -> None:
    """RabbitMQ closes their connections with an internal error. Guard: `except` in `AmqpConsumer._consuming`."""
    meet = threading.Barrier(5)

    def consume() -> None:
        broker = open_broker(rabbit.url)
        for number in range(10):
            with closing(broker.consumer([f"{prefix}.{number}"], prefetch=1)) as consumer:
                meet.wait(DEADLINE_S)
                try:
                    consumer.receive(0)
                except BrokerUnavailable:
                    meet.abort()
                    raise

    with ThreadPoolExecutor(meet.parties) as threads:
        failures = [one.exception() for one in [threads.submit(consume) for _ in range(meet.parties)]]

    assert failures == [None] * meet.parties


def test_wrong_credentials_are_told(rabbit: RabbitServer) -> None:
    url = parse_url(rabbit.url)
    publisher = open_broker(f"pyamqp://nobody:wrong@{url['hostname']}:{url['port']}").publisher()

    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED") as refusal:
        publisher.settled(0)

    assert "wrong" not in str(refusal.value)
    publisher.close()


def _connections_to(address: tuple[str, int]) -> int:
    """How many this process has open."""
    return sum(one.raddr == address and one.pid == os.getpid() for one in psutil.net_connections("tcp"))


def test_a_server_that_speaks_something_else_is_left_without_a_trace() -> None:
    """Fails without `_Connection.connect`: py-amqp would leave the socket to the garbage collector."""
    refusals, left = [], []
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = open_broker(f"pyamqp://127.0.0.1:{server.getsockname()[1]}").publisher()

        def answer() -> None:
            for _ in range(3):
                with server.accept()[0] as client:
                    client.recv(8)
                    client.sendall(struct.pack(">BHI", 1, 0, 1) + b"??")
                    client.recv(100)

        answering = threading.Thread(target=answer)
        answering.start()
        for _ in range(3):
            with pytest.raises(BrokerUnavailable, match="frame_end") as refusal:
                publisher.settled(0)
            refusals.append(refusal.value)
            left.append(_connections_to(server.getsockname()))
        answering.join(DEADLINE_S)
        publisher.close()

    assert left == [0, 0, 0]


def test_of_several_hosts_the_first_that_answers_is_taken(rabbit: RabbitServer, prefix: str) -> None:
    broker = open_broker(f"pyamqp://guest:guest@127.0.0.1:1;{rabbit.url}")

    declared(broker, f"{prefix}.queue")


def test_nobody_listening_is_told_at_once_and_each_host_by_name() -> None:
    publisher = open_broker("pyamqp://127.0.0.1:1;pyamqp://127.0.0.1:2").publisher()

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1: .*refused; 127\.0\.0\.1:2: .*refused"):
        publisher.publish([])


def test_a_consumer_without_a_limit_is_refused(broker: Broker, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefetch"):
        broker.consumer([f"{prefix}.queue"], prefetch=0)


def test_publishing_nothing_is_no_error(broker: Broker) -> None:
    publisher = broker.publisher()
    nothing: list[Message] = []

    publisher.publish(outgoing(nothing))

    assert publisher.settled(0) == []
    publisher.close()
