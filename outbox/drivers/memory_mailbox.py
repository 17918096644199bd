"""A mailbox of the in-process broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic
from uuid import uuid4

from amends.outbox.drivers.memory_consumer import MemoryConsumer
from amends.outbox.drivers.memory_queue import MemoryQueue
from amends.outbox.ports import Delivery


class MemoryMailbox:
    """A `Mailbox`: from its first `receive` to its `close` there is a queue of its own."""

    def __init__(
        self, lock: threading.Lock, queues: dict[str, MemoryQueue], name: str, prefetch: int
    ) -> None:
        self._lock = lock
        self._queues = queues
        self._name = name
        self._prefetch = prefetch
        self._queue: MemoryQueue | None = None
        self._consumer: MemoryConsumer | None = None

    @property
    def address(self) -> str:
        """The queue's name."""
        queue = self._queue
        return "" if queue is None else queue.name

    def receive(self, timeout_s: float) -> list[Delivery]:
        """As a consumer's."""
        if self._consumer is None:
            queue = MemoryQueue(f"{self._name}.{uuid4().hex}")
            with self._lock:
                self._queues[queue.name] = queue
            self._consumer = MemoryConsumer(self._lock, [queue], self._prefetch)
            self._queue = queue
        return self._consumer.receive(timeout_s)

    def ack(self, tags: Iterable[int]) -> None:
        """As a consumer's."""
        if self._consumer is not None:
            self._consumer.ack(tags)

    def requeue(self, tags: Iterable[int]) -> None:
        """As a consumer's."""
        if self._consumer is not None:
            self._consumer.requeue(tags)

    def wake(self) -> None:
        """As a consumer's."""
        consumer = self._consumer
        if consumer is not None:
            consumer.wake()

    def close(self) -> None:
        """Leave, and delete the queue with what is in it: its publishers need not wait for a confirm any more."""
        consumer, queue = self._consumer, self._queue
        self._consumer = self._queue = None
        if consumer is None or queue is None:
            return
        consumer.close()
        with self._lock:
            self._queues.pop(queue.name, None)
            queue.clear(monotonic())
