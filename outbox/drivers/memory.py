"""A broker inside this process, for the embedded mode and for tests: `memory://NAME`.

It keeps the promises of the AMQP driver, and makes one stronger: a message is CONFIRMED only when its
consumer acknowledged it (or it expired), since nothing here survives the process. So an outbox row is deleted
only after its message was dealt with. See docs/decisions/0002-a-memory-broker-of-our-own.md.

One lock guards the whole broker; nobody polls: who waits, waits on a condition of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from time import monotonic

from amends.outbox.drivers.memory_consumer import MemoryConsumer
from amends.outbox.drivers.memory_mailbox import MemoryMailbox
from amends.outbox.drivers.memory_publisher import MemoryPublisher
from amends.outbox.drivers.memory_queue import MemoryQueue
from amends.outbox.ports import Binding, Consumer, Mailbox, Publisher, QueueState, Topology

_brokers: dict[str, MemoryBroker] = {}
_brokers_lock = threading.Lock()


def memory_broker(name: str) -> MemoryBroker:
    """This process's broker of that name, made at its first use."""
    with _brokers_lock:
        broker = _brokers.get(name)
        if broker is None:
            broker = _brokers[name] = MemoryBroker(name)
        return broker


class MemoryBroker:
    """Queues and exchanges in memory. `close` only forgets its name: who holds it may go on."""

    # A message lives in this process alone until its consumer acks.
    confirms_when_consumed = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.queues: dict[str, MemoryQueue] = {}
        self.exchanges: set[str] = set()
        self.bindings: set[Binding] = set()

    def declare(self, topology: Topology) -> None:
        with self.lock:
            for queue in topology.queues:
                self.queues.setdefault(queue, MemoryQueue(queue))
            self.exchanges |= topology.exchanges
            self.bindings |= topology.bindings

    def publisher(self) -> Publisher:
        return MemoryPublisher(self.lock, self.queues, self.exchanges, self.bindings)

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        self.declare(Topology(queues=frozenset(queues)))
        return MemoryConsumer(self.lock, [self.queues[queue] for queue in dict.fromkeys(queues)], prefetch)

    def mailbox(self, name: str, *, prefetch: int) -> Mailbox:
        return MemoryMailbox(self.lock, self.queues, name, prefetch)

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:  # noqa: ARG002 - Nothing here waits.
        with self.lock:
            found = {name: self.queues.get(name) for name in queues}
            now = monotonic()
            return {name: None if queue is None else queue.state(now) for name, queue in found.items()}

    def close(self) -> None:
        with _brokers_lock:
            if _brokers.get(self.name) is self:
                del _brokers[self.name]
