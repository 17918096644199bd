"""RabbitMQ that goes away, comes back empty, blocks, falls silent: the driver waits for nothing without a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from kombu.utils.url import parse_url

from amends.outbox.broker import open_broker
from amends.outbox.drivers.amqp import AmqpBroker
from amends.outbox.drivers.amqp_link import Limits
from amends.outbox.drivers.amqp_url import parse_urls
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Broker, Fate, Topology
from tests.outbox.driving import (
    fates,
    message,
    once_available,
    outgoing,
    received,
    settlements,
    unavailable,
)
from tests.outbox.proxy import Proxy
from tests.servers.rabbit import private_rabbit_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.servers.rabbit import PrivateRabbit, RabbitServer


HEARTBEAT_BYTES = 8  # a frame without a payload


@pytest.fixture(scope="module")
def node() -> Iterator[PrivateRabbit]:
    """A RabbitMQ of this module's own, to be ill-treated."""
    with private_rabbit_server() as server:
        yield server


@pytest.fixture
def proxy(rabbit: RabbitServer) -> Iterator[Proxy]:
    """The shared RabbitMQ behind a proxy."""
    url = parse_url(rabbit.url)
    with Proxy(url["hostname"], url["port"]) as opened:
        yield opened


def through(proxy: Proxy, rabbit: RabbitServer, limits: Limits | None = None) -> Broker:
    """The shared RabbitMQ, reached through the proxy."""
    url = parse_url(rabbit.url)
    vhost = (url["virtual_host"] or "/").replace("/", "%2F")
    address = f"pyamqp://{url['userid']}:{url['password']}@127.0.0.1:{proxy.port}/{vhost}"
    return AmqpBroker(parse_urls(address), name="amends", limits=limits or Limits())


def declared(broker: Broker, *queues: str) -> None:
    """Declare the queues now."""
    broker.declare(Topology(queues=frozenset(queues)))
    publisher = broker.publisher()
    publisher.settled(0)
    publisher.close()


def test_after_the_connection_was_cut_the_next_call_connects_and_old_tags_mean_nothing(
    rabbit: RabbitServer, proxy: Proxy, prefix: str
) -> None:
    broker, queue = through(proxy, rabbit), f"{prefix}.queue"
    consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
    publisher.publish(outgoing([message(queue, b"1"), message(queue, b"2")]))
    settlements(publisher, 2)
    old = received(consumer, 2)

    proxy.cut()
    unavailable(lambda: consumer.receive(1))
    unavailable(lambda: publisher.settled(1))
    consumer.ack([one.tag for one in old])
    again = received(consumer, 2)

    assert [one.body for one in again] == [b"1", b"2"]
    assert all(one.redelivered for one in again)
    assert not {one.tag for one in old} & {one.tag for one in again}
    consumer.ack([one.tag for one in again])
    publisher.publish(outgoing([message(queue, b"3")], first=3))
    assert fates(settlements(publisher, 1)) == {3: Fate.CONFIRMED}
    assert [one.body for one in received(consumer, 1)] == [b"3"]
    consumer.close()
    publisher.close()


def test_what_was_confirmed_before_the_connection_broke_is_told_before_the_break(
    rabbit: RabbitServer, proxy: Proxy, prefix: str
) -> None:
    """Fails without `_failure` in `AmqpPublisher.settled`: a row whose confirm had come would be sent again."""
    broker, queue = through(proxy, rabbit), f"{prefix}.queue"
    declared(broker, queue)
    publisher = broker.publisher()
    publisher.settled(0)
    passed_bytes = proxy.passed_bytes
    publisher.publish(outgoing([message(queue)]))
    eventually(lambda: proxy.passed_bytes > passed_bytes, what="the confirm to pass")

    proxy.cut()
    (answer,) = publisher.settled(5)

    assert answer.fate is Fate.CONFIRMED
    assert publisher.pending == 0
    with pytest.raises(BrokerUnavailable):
        publisher.settled(0)
    assert publisher.settled(0) == []
    publisher.close()


def test_a_broker_that_falls_silent_is_noticed_by_its_heartbeats(
    rabbit: RabbitServer, proxy: Proxy, prefix: str
) -> None:
    """Fails without `check_heartbeat` in `receive` and `settled`: nothing else tells dead from quiet."""
    broker = through(proxy, rabbit, Limits(heartbeat_s=1))
    consumer, publisher = broker.consumer([f"{prefix}.queue"], prefetch=1), broker.publisher()
    consumer.receive(0)
    publisher.settled(0)

    proxy.hold()

    unavailable(
        lambda: consumer.receive(0.2),
    )
    unavailable(
        lambda: publisher.settled(0.2),
    )
    proxy.release()
    consumer.close()
    publisher.close()


def test_a_quiet_connection_stays_because_heartbeats_are_sent(
    rabbit: RabbitServer, proxy: Proxy, prefix: str
) -> None:
    """RabbitMQ hangs up after two heartbeats without a word. Fails without `check_heartbeat` in `receive`."""
    broker = through(proxy, rabbit, Limits(heartbeat_s=3))
    consumer = broker.consumer([f"{prefix}.queue"], prefetch=1)
    consumer.receive(0)

    before = proxy.taken_bytes
    eventually(
        lambda: consumer.receive(0.5) == [] and proxy.taken_bytes - before >= 2 * HEARTBEAT_BYTES,
        what="two heartbeats to be sent",
    )

    consumer.close()


def test_a_server_that_never_answers_is_given_up(rabbit: RabbitServer, proxy: Proxy) -> None:
    broker = through(proxy, rabbit, Limits(connect_s=0.5))
    proxy.hold()

    with pytest.raises(BrokerUnavailable, match="timed out"):
        broker.publisher().settled(0)


def test_a_broker_that_does_not_answer_a_declaration_is_given_up(
    rabbit: RabbitServer, proxy: Proxy, prefix: str
) -> None:
    broker = through(proxy, rabbit, Limits(answer_s=3.0))
    publisher = broker.publisher()
    publisher.settled(0)
    broker.declare(Topology(queues=frozenset({f"{prefix}.queue"})))
    proxy.hold()

    with pytest.raises(BrokerUnavailable, match=r"a channel: no answer within 3 s"):
        publisher.settled(0)


def test_a_broker_that_takes_no_bytes_is_given_up(rabbit: RabbitServer, proxy: Proxy, prefix: str) -> None:
    broker, queue = through(proxy, rabbit, Limits(write_s=0.5)), f"{prefix}.queue"
    declared(broker, queue)
    publisher = broker.publisher()
    publisher.settled(0)
    proxy.hold()

    with pytest.raises(BrokerUnavailable, match=r"took no bytes for 0\.5 s"):
        publisher.publish(outgoing([message(queue, bytes(1_000_000)) for _ in range(30)]))

    assert publisher.pending == 0


def test_frames_that_arrive_byte_by_byte_are_put_together_without_spinning(
    rabbit: RabbitServer, prefix: str
) -> None:
    """py-amqp, asked not to wait, spins on a partial frame."""
    url, queue = parse_url(rabbit.url), f"{prefix}.queue"
    with Proxy(url["hostname"], url["port"], chunk_bytes=1) as proxy:
        broker = through(proxy, rabbit)
        consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
        publisher.publish(outgoing([message(queue, b"%d" % number * 50) for number in range(5)]))

        assert [one.body for one in received(consumer, 5)] == [b"%d" % number * 50 for number in range(5)]
        assert len(settlements(publisher, 5)) == 5

        publisher.publish(outgoing([message(queue, bytes(100_000))], first=6))
        settlements(publisher, 1)
        proxy.hold()  # In the middle of the delivery, as likely as not.
        cpu_s = time.thread_time()
        consumer.receive(1)
        assert time.thread_time() - cpu_s < 0.5
        proxy.release()
        consumer.close()
        publisher.close()


def test_one_mute_queue_does_not_hold_up_the_others(node: PrivateRabbit) -> None:
    """O4. A quorum queue without its leader says nothing; the messages around it are confirmed all the same."""
    broker, mute, well = open_broker(node.url), "mute", "well"
    declared(broker, mute, well)
    publisher = broker.publisher()
    # At the first message for a queue RabbitMQ's channel waits for its leader, and everything behind it as well.
    publisher.publish(outgoing([message(mute)], first=0))
    settlements(publisher, 1)
    node.ctl("eval", f"sys:suspend('%2F_{mute}').")
    try:
        publisher.publish(outgoing([message(mute), message(well), message(mute), message(well)]))

        assert fates(settlements(publisher, 2)) == {2: Fate.CONFIRMED, 4: Fate.CONFIRMED}
        assert publisher.pending == 2
    finally:
        node.ctl("eval", f"sys:resume('%2F_{mute}').")
    assert fates(settlements(publisher, 2)) == {1: Fate.CONFIRMED, 3: Fate.CONFIRMED}
    publisher.close()


def test_a_full_queue_refuses_and_its_messages_are_nacked(node: PrivateRabbit) -> None:
    broker, queue = open_broker(node.url), "full"
    policy = (
        "--apply-to",
        "queues",
        "full",
        "^full",
        '{"max-length":2,"overflow":"reject-publish"}',
    )
    node.ctl("set_policy", *policy)
    declared(broker, queue)
    publisher = broker.publisher()
    try:
        found = []
        for token in range(8):
            publisher.publish(outgoing([message(queue)], first=token))
            found += settlements(publisher, 1)
    finally:
        node.ctl("clear_policy", "full")

    assert {answer.fate for answer in found} == {Fate.CONFIRMED, Fate.NACKED}
    assert found[-1].fate is Fate.NACKED
    publisher.close()


def test_connections_carry_our_name(node: PrivateRabbit) -> None:
    broker = open_broker(node.url, name="shop worker")
    consumer, publisher = broker.consumer(["named"], prefetch=1), broker.publisher()
    consumer.receive(0)
    publisher.settled(0)

    shown = node.ctl("list_connections", "client_properties")

    assert "shop worker consumer" in shown
    assert "shop worker publisher" in shown
    consumer.close()
    publisher.close()


def _limit_messages(node: PrivateRabbit, size_bytes: int) -> None:
    """For channels opened from now on. Where RabbitMQ looks depends on its release."""
    node.ctl(
        "eval",
        f"application:set_env(rabbit, max_message_size, {size_bytes}),"
        f"persistent_term:put(max_message_size, {size_bytes}).",
    )


def test_messages_over_the_brokers_limit_are_too_large_and_harm_no_other(node: PrivateRabbit) -> None:
    """O4. The broker closes the channel without naming the message."""
    broker, queue = open_broker(node.url), "limited"
    declared(broker, queue)
    _limit_messages(node, 5_000)
    try:
        publisher = broker.publisher()
        publisher.publish(outgoing([message(queue), message(queue, bytes(5_001)), message(queue)]))
        answers = settlements(publisher, 3)
    finally:
        _limit_messages(node, 134_217_728)

    assert fates(answers) == {1: Fate.CONFIRMED, 2: Fate.TOO_LARGE, 3: Fate.CONFIRMED}
    publisher.close()


def test_a_killed_broker_is_unavailable_until_it_is_back_and_loses_nothing_confirmed(
    node: PrivateRabbit,
) -> None:
    broker, queue = open_broker(node.url), "killed"
    consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
    publisher.publish(outgoing([message(queue, b"1")]))
    settlements(publisher, 1)
    (before,) = received(consumer, 1)
    # RabbitMQ forgets the term of a queue's first election if it is killed in the seconds after, and then
    # never elects a leader for it again.
    node.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    node.kill()
    unavailable(lambda: consumer.receive(0.2))
    unavailable(lambda: publisher.publish(outgoing([message(queue, b"lost")], first=2)))
    assert publisher.pending == 0
    node.start()
    (after,) = once_available(lambda: received(consumer, 1))

    assert (before.body, after.body) == (b"1", b"1")
    assert after.tag > before.tag
    once_available(lambda: publisher.publish(outgoing([message(queue, b"2")], first=3)))
    assert fates(settlements(publisher, 1)) == {3: Fate.CONFIRMED}
    consumer.close()
    publisher.close()


def test_a_wiped_broker_gets_its_queues_and_exchanges_again(node: PrivateRabbit) -> None:
    broker, queue = open_broker(node.url), "wiped"
    broker.declare(Topology(exchanges=frozenset({"wiped.events"})))
    consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
    consumer.receive(0)
    publisher.settled(0)

    node.wipe()
    unavailable(lambda: publisher.settled(0.2))
    unavailable(lambda: consumer.receive(0.2))
    once_available(lambda: consumer.receive(0))
    once_available(
        lambda: publisher.publish(outgoing([message(queue), message("event", exchange="wiped.events")]))
    )

    assert fates(settlements(publisher, 2)) == {1: Fate.CONFIRMED, 2: Fate.CONFIRMED}
    assert len(received(consumer, 1)) == 1
    consumer.close()
    publisher.close()


def test_a_short_block_delays_confirms_and_nothing_else(node: PrivateRabbit) -> None:
    """RabbitMQ stops reading from a publisher without an error; consumers go on."""
    broker, queue = open_broker(node.url), "blocked"
    consumer, publisher = broker.consumer([queue], prefetch=10), broker.publisher()
    publisher.publish(outgoing([message(queue)]))
    settlements(publisher, 1)
    node.block()
    try:
        for token in (2, 3, 4):
            publisher.publish(outgoing([message(queue, bytes(90_000)) for _ in range(10)], first=token * 10))
            assert publisher.settled(0.2) == []
        assert publisher.pending == 30
        consumer.ack([one.tag for one in received(consumer, 1)])
        assert consumer.receive(0.2) == []
    finally:
        node.unblock()

    assert set(fates(settlements(publisher, 30)).values()) == {Fate.CONFIRMED}
    consumer.close()
    publisher.close()


def test_a_long_block_is_an_outage_for_the_publisher(node: PrivateRabbit) -> None:
    """Fails without `_check_blocked`: the publisher would wait as long as the alarm lasts."""
    broker = AmqpBroker(parse_urls(node.url), name="amends", limits=Limits(blocked_s=0.5))
    queue = "long"
    declared(broker, queue)
    publisher = broker.publisher()
    node.block()
    try:
        publisher.publish(outgoing([message(queue)]))
        failure = unavailable(lambda: publisher.settled(0.2))
        assert "blocks its publishers" in str(failure)
        assert publisher.pending == 0
        publisher.publish(outgoing([message(queue)]))
        publisher.settled(0.1)
        publisher.close()
    finally:
        node.unblock()
