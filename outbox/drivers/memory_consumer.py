"""Consuming from the in-process broker."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from time import monotonic

from amends.outbox.drivers.memory_queue import MemoryQueue, QueuedMessage, Waiter
from amends.outbox.message import HEADER_CONTENT_ENCODING, NOT_HEADERS
from amends.outbox.ports import Delivery


class MemoryConsumer:
    """A `Consumer` of some queues; at most `prefetch` messages of each are unacknowledged."""

    def __init__(self, lock: threading.Lock, queues: Sequence[MemoryQueue], prefetch: int) -> None:
        self._lock = lock
        self._queues = queues
        self._prefetch = prefetch
        self._waiter = Waiter(lock)
        self._tag = 0
        self._unacked: dict[int, tuple[MemoryQueue, QueuedMessage]] = {}
        self._credit = {queue.name: prefetch for queue in queues}
        self._attached = False
        self._woken = False

    def receive(self, timeout_s: float) -> list[Delivery]:
        deadline = monotonic() + timeout_s
        with self._lock:
            self._attach()
            while True:
                now = monotonic()
                taken = self._take(now)
                if taken or self._woken or now >= deadline:
                    self._woken = False
                    break
                self._waiter.waiting = True
                self._waiter.arrived.wait(deadline - now)
                self._waiter.waiting = False
        return [_delivery(tag, queue, one) for tag, queue, one in taken]

    def ack(self, tags: Iterable[int]) -> None:
        with self._lock:
            now = monotonic()
            for _, one in self._settle(tags):
                one.confirm(now)

    def requeue(self, tags: Iterable[int]) -> None:
        with self._lock:
            self._put_back(self._settle(tags))

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._waiter.arrived.notify()

    def close(self) -> None:
        with self._lock:
            if self._attached:
                self._attached = False
                for queue in self._queues:
                    queue.consumers.remove(self._waiter)
            self._put_back(self._settle(list(self._unacked)))

    def _attach(self) -> None:
        if not self._attached:
            self._attached = True
            for queue in self._queues:
                queue.consumers.append(self._waiter)

    def _take(self, now: float) -> list[tuple[int, MemoryQueue, QueuedMessage]]:
        taken = []
        for queue in self._queues:
            if not queue.ready:
                continue
            for one in queue.take(self._credit[queue.name], now):
                self._tag += 1
                self._unacked[self._tag] = (queue, one)
                self._credit[queue.name] -= 1
                taken.append((self._tag, queue, one))
        return taken

    def _settle(self, tags: Iterable[int]) -> list[tuple[MemoryQueue, QueuedMessage]]:
        """Take these out of our hands; tags that are not in them are ignored."""
        settled = []
        starved = False
        for tag in tags:
            held = self._unacked.pop(tag, None)
            if held is not None:
                settled.append(held)
                starved = starved or self._credit[held[0].name] == 0
                self._credit[held[0].name] += 1
        if starved and self._waiter.waiting:
            self._waiter.arrived.notify()
        return settled

    @staticmethod
    def _put_back(held: Iterable[tuple[MemoryQueue, QueuedMessage]]) -> None:
        returned: dict[MemoryQueue, list[QueuedMessage]] = defaultdict(list)
        for queue, one in held:
            returned[queue].append(one)
        for queue, messages in returned.items():
            queue.put_back(messages)


def _delivery(tag: int, queue: MemoryQueue, one: QueuedMessage) -> Delivery:
    message = one.message
    return Delivery(
        tag=tag,
        queue=queue.name,
        body=message.body,
        type=message.type,
        message_id=message.message_id,
        correlation_id=message.correlation_id or "",
        reply_to=message.reply_to or "",
        content_type=message.content_type,
        content_encoding=str(message.headers.get(HEADER_CONTENT_ENCODING) or ""),
        headers={name: value for name, value in message.headers.items() if name not in NOT_HEADERS},
        redelivered=one.delivery_count > 0,
        delivery_count=one.delivery_count,
        size_bytes=len(message.body),
        expiration="" if message.expiration_ms is None else str(message.expiration_ms),
    )
