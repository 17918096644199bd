"""A mailbox on RabbitMQ: an exclusive queue that the broker deletes with its connection."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from amends.outbox.drivers.amqp_consumer import AmqpConsumer
from amends.outbox.drivers.amqp_link import Link
from amends.outbox.drivers.amqp_topology import SharedTopology


class AmqpMailbox(AmqpConsumer):
    """A `Mailbox`. Each connection's queue has a new name.

    The broker may take a while to notice that the last connection is gone; until then its queue's name is locked.
    """

    def __init__(
        self, connect: Callable[[int], Link], topology: SharedTopology, name: str, prefetch: int
    ) -> None:
        super().__init__(connect, topology, (), prefetch)
        self._name = name

    @property
    def address(self) -> str:
        """The queue's name on this connection."""
        return "" if self._channel is None else self._queues.get("0", "")

    def _consume(self, link: Link) -> None:
        queue = f"{self._name}.{uuid4().hex}"
        channel = link.channel()
        with link.answering(f"declaring the mailbox {queue!r}"):
            channel.queue_declare(
                queue,
                durable=False,
                exclusive=True,
                auto_delete=True,
                arguments={"x-queue-type": "classic"},
            )
        with link.answering("closing a channel"):
            channel.close()
        self._queues = {"0": queue}
        super()._consume(link)
