"""A broker that tells when it is talked to, and may keep its confirms to itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from amends.outbox.ports import Broker, Consumer, Outgoing, Publisher, QueueState, Settled, Topology


class WatchedBroker:
    """A real broker, whose publishers call `talks` at every publish and every wait; while `deaf`, none settles."""

    confirms_when_consumed = False

    def __init__(self, broker: Broker, talks: Callable[[], None] = lambda: None) -> None:
        self._broker = broker
        self.talks = talks
        self.deaf = False

    def declare(self, topology: Topology) -> None:
        self._broker.declare(topology)

    def publisher(self) -> Publisher:
        return _WatchedPublisher(self, self._broker.publisher())

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        return self._broker.consumer(queues, prefetch=prefetch)

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        return self._broker.look(queues, timeout_s=timeout_s)

    def close(self) -> None:
        self._broker.close()


class _WatchedPublisher:
    def __init__(self, broker: WatchedBroker, publisher: Publisher) -> None:
        self._broker = broker
        self._publisher = publisher

    @property
    def pending(self) -> int:
        return self._publisher.pending

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        self._broker.talks()
        self._publisher.publish(outgoing)

    def settled(self, timeout_s: float) -> list[Settled]:
        self._broker.talks()
        if self._broker.deaf:
            time.sleep(min(timeout_s, 0.01))
            return []
        return self._publisher.settled(timeout_s)

    def wake(self) -> None:
        self._publisher.wake()

    def close(self) -> None:
        self._publisher.close()
