"""One connection cut after the other while messages with every fate pass: what is told is true."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from kombu.utils.url import parse_url

from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Consumer, Fate, Outgoing, Publisher
from tests.outbox.driving import message
from tests.outbox.proxy import Proxy
from tests.outbox.test_amqp_faults import through

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer

MESSAGES = 3_000
CUT_FOR_S = 6.0


class Traffic:
    """Publishes each message until it is settled, as a relay would; takes whatever arrives."""

    def __init__(self, queue: str, seed: int) -> None:
        rng = random.Random(seed)
        odd = rng.sample(range(MESSAGES), 30)
        self.expected = dict.fromkeys(range(MESSAGES), Fate.CONFIRMED)
        self.expected |= dict.fromkeys(odd[:10], Fate.UNROUTABLE) | dict.fromkeys(odd[10:], Fate.RETURNED)
        self.found: dict[int, Fate] = {}
        self.arrived: set[int] = set()
        self.outages = 0
        self._queue = queue
        self._waiting = list(range(MESSAGES))
        self._pending: set[int] = set()
        self._tags: set[int] = set()

    @property
    def ended(self) -> bool:
        stored = {token for token, fate in self.expected.items() if fate is Fate.CONFIRMED}
        return len(self.found) == MESSAGES and self.arrived == stored

    def publish(self, publisher: Publisher) -> None:
        try:
            if len(self._pending) < 300:
                batch, self._waiting = self._waiting[:100], self._waiting[100:]
                self._pending.update(batch)
                publisher.publish([Outgoing(token, self._message(token)) for token in batch])
            for answer in publisher.settled(0.01):
                self._pending.remove(answer.token)
                self.found[answer.token] = answer.fate
        except BrokerUnavailable:
            self.outages += 1
            self._waiting += self._pending
            self._pending.clear()

    def consume(self, consumer: Consumer) -> None:
        try:
            deliveries = consumer.receive(0.01)
        except BrokerUnavailable:
            self.outages += 1
            return
        tags = [one.tag for one in deliveries]
        assert not self._tags & set(tags)
        self._tags.update(tags)
        self.arrived |= {int(one.body) for one in deliveries}
        consumer.ack(tags[::2])
        consumer.ack(tags[1::2])

    def _message(self, token: int) -> Message:
        match self.expected[token]:
            case Fate.UNROUTABLE:
                return message(self._queue, exchange=f"{self._queue}.missing")
            case Fate.RETURNED:
                return message(f"{self._queue}.nowhere")
        return message(self._queue, b"%d" % token)


def test_under_cuts_every_message_gets_its_true_fate_and_none_confirmed_is_lost(
    rabbit: RabbitServer, prefix: str
) -> None:
    """O1, O3, O4."""
    url, rng = parse_url(rabbit.url), random.Random(7)
    traffic = Traffic(f"{prefix}.queue", seed=7)
    healed = threading.Event()
    with Proxy(url["hostname"], url["port"]) as proxy:
        broker = through(proxy, rabbit)
        publisher, consumer = broker.publisher(), broker.consumer([f"{prefix}.queue"], prefetch=100)

        def cut() -> None:
            while not healed.wait(rng.uniform(0.05, 0.5)):
                proxy.cut()

        cutting = threading.Thread(target=cut)
        cutting.start()
        heal_at, give_up_at = time.monotonic() + CUT_FOR_S, time.monotonic() + 60
        while not traffic.ended and time.monotonic() < give_up_at:
            traffic.publish(publisher)
            traffic.consume(consumer)
            if time.monotonic() > heal_at:
                healed.set()
        healed.set()
        cutting.join()
        publisher.close()
        consumer.close()

    assert traffic.found == traffic.expected
    assert traffic.ended
    assert traffic.outages > 3
