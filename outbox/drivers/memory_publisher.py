"""Publishing into the in-process broker."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from time import monotonic

from amends.outbox.drivers.memory_queue import Confirms, EveryCopy, MemoryQueue
from amends.outbox.message import Message
from amends.outbox.ports import Binding, Fate, Outgoing, Settled
from amends.outbox.topics import matches


class MemoryPublisher:
    """A `Publisher` whose confirms are its consumers' acknowledgements."""

    def __init__(
        self,
        lock: threading.Lock,
        queues: Mapping[str, MemoryQueue],
        exchanges: AbstractSet[str],
        bindings: AbstractSet[Binding],
    ) -> None:
        self._lock = lock
        self._queues = queues
        self._exchanges = exchanges
        self._bindings = bindings
        self._confirms = Confirms(lock)
        self._woken = False

    @property
    def pending(self) -> int:
        return self._confirms.pending

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        now = monotonic()
        with self._lock:
            confirms = self._confirms
            for token, message in outgoing:
                confirms.pending += 1
                queues = self._routed(message)
                if not queues:
                    confirms.settle(self._unrouted(token, message))
                    continue
                waited_for = confirms if len(queues) == 1 else EveryCopy(confirms, len(queues))
                for queue in queues:
                    queue.put(message, token, waited_for, now)

    def settled(self, timeout_s: float) -> list[Settled]:
        deadline = monotonic() + timeout_s
        with self._lock:
            confirms = self._confirms
            while not confirms.settled and not self._woken:
                now = monotonic()
                for queue in self._queues.values():
                    queue.drop_expired(now)
                if confirms.settled or now >= deadline:
                    break
                confirms.waiting = True
                confirms.arrived.wait(deadline - now)
                confirms.waiting = False
            self._woken = False
            answers, confirms.settled = confirms.settled, []
            return answers

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._confirms.arrived.notify()

    def close(self) -> None:
        with self._lock:
            self._confirms.open = False
            self._confirms.arrived.notify()
            self._confirms = Confirms(self._lock)

    def _routed(self, message: Message) -> list[MemoryQueue]:
        """The queues that get a copy, each once."""
        if not message.exchange:
            queue = self._queues.get(message.routing_key)
            return [] if queue is None else [queue]
        names = {
            one.queue
            for one in self._bindings
            if one.exchange == message.exchange and matches(one.pattern, message.routing_key)
        }
        return [self._queues[name] for name in sorted(names)]

    def _unrouted(self, token: int, message: Message) -> Settled:
        if message.exchange and message.exchange not in self._exchanges:
            return Settled(token, Fate.UNROUTABLE, f"no exchange {message.exchange!r}")
        if not message.mandatory:
            return Settled(token, Fate.CONFIRMED)
        return Settled(token, Fate.RETURNED, f"no queue is bound to {message.routing_key!r}")
