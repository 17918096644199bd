"""A subscriber of domain events on RabbitMQ: a queue of its own, bound to the topic exchange, read in batches."""

from __future__ import annotations

import json
from typing import Any

import amqp
from kombu.utils.url import parse_url

from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker, Delivery, Topology, events_exchange
from tests.waiting import eventually


class Subscriber:
    """What was published on `<prefix>.events` since it was made, by a topic pattern."""

    def __init__(self, url: str, prefix: str, pattern: str = "#") -> None:
        queue = f"{prefix}.subscriber"
        self._broker: Broker = open_broker(url)
        self._broker.declare(Topology(frozenset({queue}), frozenset({events_exchange(prefix)})))
        self._consumer = self._broker.consumer([queue], prefetch=1_000)
        self._consumer.receive(0)
        _bind(url, queue, events_exchange(prefix), pattern)
        self.deliveries: list[Delivery] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events so far, copies among them."""
        return [json.loads(delivery.body) for delivery in self.deliveries]

    def wait_for(self, count: int, deadline_s: float = 15) -> list[dict[str, Any]]:
        """So many different events, in the order of their first copies."""

        def different() -> list[dict[str, Any]]:
            self._take()
            return list({event["id"]: event for event in reversed(self.events)}.values())[::-1]

        eventually(lambda: len(different()) >= count, deadline_s, what=f"{count} events")
        return different()

    def close(self) -> None:
        """Unsubscribe."""
        self._consumer.close()
        self._broker.close()

    def _take(self) -> None:
        arrived = self._consumer.receive(0.1)
        self._consumer.ack([delivery.tag for delivery in arrived])
        self.deliveries += arrived


def _bind(url: str, queue: str, exchange: str, pattern: str) -> None:
    parts = parse_url(url)
    host = f"{parts['hostname']}:{parts['port']}"
    connection = amqp.Connection(
        host, parts["userid"], parts["password"], virtual_host=parts["virtual_host"] or "/"
    )
    connection.connect()
    connection.channel().queue_bind(queue, exchange, pattern)
    connection.close()
