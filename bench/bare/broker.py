"""Pipelined publishing and batched consuming with py-amqp alone."""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import amqp


class Letter(NamedTuple):
    """A message to be published; `row` is the outbox row to delete once it is confirmed, 0 for none."""

    row: int
    queue: str
    type: str
    message_id: str
    body: bytes
    expiration_ms: int = 0


class Delivery(NamedTuple):
    """A message that arrived."""

    tag: int
    type: str
    message_id: str
    headers: dict[str, Any]
    body: bytes


class Broker:
    """One connection to publish and one to consume; `queues` are declared, `consumed` is read."""

    def __init__(self, url: str, queues: list[str], consumed: str, prefetch: int) -> None:
        self._publishing = connected(url)
        self._out = self._publishing.channel()
        for queue in queues:
            self._out.queue_declare(
                queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
            )
        self._out.confirm_select()
        self._out.events["basic_ack"].add(self._on_ack)
        self._consuming = connected(url)
        self._in = self._consuming.channel()
        self._in.basic_qos(0, prefetch, False)
        self._in.basic_consume(consumed, callback=self._on_message)
        self._deliveries: deque[Delivery] = deque()
        self._unconfirmed: deque[tuple[int, int]] = deque()  # delivery tag, outbox row
        self._sent = 0
        self._confirmed: list[int] = []

    def publish(self, letters: list[Letter], reply_to: str = "", receipt_to: str = "") -> None:
        """Write them all; their confirms are taken later."""
        for letter in letters:
            headers = {"amends-row": str(letter.row), "amends-receipt-to": receipt_to} if receipt_to else {}
            message = amqp.Message(
                letter.body,
                content_type="application/json",
                delivery_mode=2,
                type=letter.type,
                message_id=letter.message_id,
                timestamp=int(time.time()),
                application_headers=headers,
                **({"reply_to": reply_to} if reply_to else {}),
                **({"expiration": str(letter.expiration_ms)} if letter.expiration_ms else {}),
            )
            self._sent += 1
            self._unconfirmed.append((self._sent, letter.row))
            self._out.basic_publish(message, routing_key=letter.queue, mandatory=True)

    @property
    def sockets(self) -> list[Any]:
        """What becomes readable when a message or a confirm comes."""
        return [self._consuming.sock, self._publishing.sock]

    def take(self, most: int) -> list[Delivery]:
        """Up to `most` messages that are here already."""
        while len(self._deliveries) < most and _readable(self._consuming):
            self._consuming.drain_events(timeout=1)
        return [self._deliveries.popleft() for _ in range(min(most, len(self._deliveries)))]

    def confirmed(self) -> list[int]:
        """The outbox rows that the broker has, since the last call."""
        while self._unconfirmed and _readable(self._publishing):
            self._publishing.drain_events(timeout=1)
        rows, self._confirmed = self._confirmed, []
        return rows

    def ack(self, tag: int) -> None:
        """Everything up to this delivery is durable."""
        self._in.basic_ack(tag, multiple=True)

    def _on_message(self, message: Any) -> None:
        properties = message.properties
        self._deliveries.append(
            Delivery(
                message.delivery_tag,
                properties["type"],
                properties["message_id"],
                properties.get("application_headers") or {},
                message.body if isinstance(message.body, bytes) else message.body.encode(),
            )
        )

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            while self._unconfirmed and self._unconfirmed[0][0] <= tag:
                self._settle(self._unconfirmed.popleft()[1])
        elif self._unconfirmed[0][0] == tag:
            self._settle(self._unconfirmed.popleft()[1])
        else:
            for place, (sent, row) in enumerate(self._unconfirmed):
                if sent == tag:
                    del self._unconfirmed[place]
                    self._settle(row)
                    break

    def _settle(self, row: int) -> None:
        if row:
            self._confirmed.append(row)


def _readable(connection: amqp.Connection) -> bool:
    return bool(connection.transport._read_buffer) or bool(select.select([connection.sock], [], [], 0)[0])


def connected(url: str) -> amqp.Connection:
    """A connection to the broker at this URL."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port}", userid=parts.username or "guest", password=parts.password or "guest"
    )
    connection.connect()
    return connection
