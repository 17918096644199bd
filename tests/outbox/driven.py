"""A driver under test, and what a test takes from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from amends.outbox.ports import Broker, Consumer, Publisher, Topology


@dataclass(slots=True)
class Driver:
    """One driver's broker, and the publishers and consumers a test took from it."""

    name: str
    broker: Broker
    prefix: str
    opened: list[Publisher | Consumer] = field(default_factory=list)

    def queue(self, name: str = "queue") -> str:
        """The name of a queue of this test's, declared."""
        full = f"{self.prefix}.{name}"
        self.broker.declare(Topology(queues=frozenset({full})))
        return full

    def publisher(self) -> Publisher:
        opened = self.broker.publisher()
        self.opened.append(opened)
        return opened

    def consumer(self, *queues: str, prefetch: int = 100) -> Consumer:
        opened = self.broker.consumer(queues, prefetch=prefetch)
        self.opened.append(opened)
        return opened
