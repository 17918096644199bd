"""RabbitMQ behind the `Broker` port."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from amends.outbox.drivers.amqp_consumer import AmqpConsumer
from amends.outbox.drivers.amqp_link import Limits, Link, connect
from amends.outbox.drivers.amqp_looking import look_at
from amends.outbox.drivers.amqp_mailbox import AmqpMailbox
from amends.outbox.drivers.amqp_publisher import AmqpPublisher
from amends.outbox.drivers.amqp_topology import SharedTopology
from amends.outbox.drivers.amqp_url import Address
from amends.outbox.ports import Consumer, Mailbox, Publisher, QueueState, Topology

LIMITS = Limits()


class AmqpBroker:
    """Publishers and consumers of one RabbitMQ, each with a connection of its own.

    Publishing and consuming never share a connection: a blocked publisher would keep acknowledgements back.
    `name` is what RabbitMQ shows for the connections.
    """

    confirms_when_consumed = False

    def __init__(self, addresses: Sequence[Address], *, name: str, limits: Limits = LIMITS) -> None:
        self._addresses = addresses
        self._name = name
        self._limits = limits
        self._topology = SharedTopology()

    def declare(self, topology: Topology) -> None:
        self._topology.add(topology)

    def publisher(self) -> Publisher:
        return AmqpPublisher(self._link_of("publisher"), self._topology, self._limits)

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        if prefetch < 1:
            raise ValueError(f"prefetch must be at least 1, not {prefetch}: 0 would mean without a limit")
        self.declare(Topology(queues=frozenset(queues)))
        return AmqpConsumer(self._link_of("consumer"), self._topology, queues, prefetch)

    def mailbox(self, name: str, *, prefetch: int) -> Mailbox:
        return AmqpMailbox(self._link_of("mailbox"), self._topology, name, prefetch)

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        return look_at(
            self._addresses, queues, limits=self._limits, name=f"{self._name} look", timeout_s=timeout_s
        )

    def close(self) -> None:
        """Nothing: every connection belongs to a publisher or a consumer."""

    def _link_of(self, role: str) -> Callable[[int], Link]:
        def open_link(wakeup_fd: int) -> Link:
            return connect(self._addresses, self._limits, f"{self._name} {role}", wakeup_fd)

        return open_link
