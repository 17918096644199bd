"""Declaring what a broker object's queues and exchanges are, identically at every connect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import amqp

from amends.outbox.drivers.amqp_link import Link, describe
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Topology

# A delivery limit is a policy's business: an argument cannot be changed once the queue exists.
QUEUE_ARGUMENTS: Final = {"x-queue-type": "quorum"}


class SharedTopology:
    """What all publishers and consumers of one broker object declare. Thread-safe; it only grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all = Topology()

    @property
    def all(self) -> Topology:
        """All that was added so far; the same object until more is added."""
        return self._all

    def add(self, topology: Topology) -> None:
        """Add queues, exchanges and bindings."""
        with self._lock:
            if topology - self._all != Topology():
                self._all |= topology


def declare(link: Link, topology: Topology) -> None:
    """Declare durable topic exchanges and quorum queues, and bind them, on a channel of their own.

    Raises: BrokerUnavailable for what exists already with other properties; it names it and the mend.
    """
    channel = link.channel()

    def exchange(name: str) -> None:
        channel.exchange_declare(name, "topic", durable=True, auto_delete=False)

    def queue(name: str) -> None:
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=dict(QUEUE_ARGUMENTS))

    for name in sorted(topology.exchanges):
        _declare_one(link, f"topic exchange {name!r}", exchange, name)
    for name in sorted(topology.queues):
        _declare_one(link, f"quorum queue {name!r}", queue, name)
    for one in sorted(topology.bindings):
        what = f"binding of the queue {one.queue!r} to the topic exchange {one.exchange!r}"
        with link.answering(f"declaring the {what}"):
            channel.queue_bind(one.queue, one.exchange, one.pattern)
    with link.answering("closing a channel"):
        channel.close()


def _declare_one(link: Link, what: str, how: Callable[[str], Any], name: str) -> None:
    try:
        with link.answering(f"declaring the {what}"):
            how(name)
    except amqp.ChannelError as error:
        raise BrokerUnavailable(
            f"the {what} cannot be declared: {describe(error)}; if it exists with other properties, "
            f"empty and delete it, or use another prefix"
        ) from error
