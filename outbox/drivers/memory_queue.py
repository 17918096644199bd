"""A queue of the in-process broker, its messages, and who waits for them. The broker's lock guards all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from amends.outbox.message import Message
from amends.outbox.ports import Fate, QueueState, Settled


class Confirms:
    """What one publisher waits for, between two of its `close`s; messages in the queues point back to it."""

    __slots__ = ("arrived", "open", "pending", "settled", "waiting")

    def __init__(self, lock: threading.Lock) -> None:
        self.arrived = threading.Condition(lock)
        self.pending = 0
        self.settled: list[Settled] = []
        self.open = True
        self.waiting = False

    def settle(self, settled: Settled) -> None:
        """One pending message has its answer."""
        if not self.open:
            return
        self.pending -= 1
        self.settled.append(settled)
        if self.waiting:
            self.arrived.notify()


class EveryCopy:
    """Settles a message that went to several queues once the last of them has dealt with its copy."""

    __slots__ = ("_confirms", "_left")

    def __init__(self, confirms: Confirms, copies: int) -> None:
        self._confirms = confirms
        self._left = copies

    def settle(self, settled: Settled) -> None:
        """One copy has been dealt with."""
        self._left -= 1
        if not self._left:
            self._confirms.settle(settled)


class QueuedMessage:
    """A message in a queue or in the hands of a consumer."""

    __slots__ = ("confirms", "delivery_count", "expires_at", "message", "place", "published_at", "token")

    def __init__(
        self, message: Message, token: int, confirms: Confirms | EveryCopy, now: float, place: int
    ) -> None:
        self.message = message
        self.token = token
        self.confirms = confirms
        self.published_at = now
        self.place = place
        self.delivery_count = 0
        expiration_ms = message.expiration_ms
        self.expires_at = None if expiration_ms is None else now + expiration_ms / 1000

    def confirm(self, now: float) -> None:
        """It was consumed, or expired: the publisher may forget it."""
        self.confirms.settle(Settled(self.token, Fate.CONFIRMED, confirm_s=now - self.published_at))


class MemoryQueue:
    """Messages in order, and the consumers to notify."""

    __slots__ = ("consumers", "name", "places", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[QueuedMessage] = deque()
        self.consumers: list[Waiter] = []
        self.places = 0

    def put(self, message: Message, token: int, confirms: Confirms | EveryCopy, now: float) -> None:
        """Append a message just published."""
        self.places += 1
        self.ready.append(QueuedMessage(message, token, confirms, now, self.places))
        self.notify()

    def put_back(self, queued: Iterable[QueuedMessage]) -> None:
        """Return messages that were delivered and not acknowledged, each to its old place."""
        returned = sorted(queued, key=lambda one: one.place)
        for one in returned:
            one.delivery_count += 1
        if self.ready and returned and self.ready[0].place < returned[-1].place:
            self.ready = deque(sorted([*returned, *self.ready], key=lambda one: one.place))
        else:
            self.ready.extendleft(reversed(returned))
        self.notify()

    def take(self, limit: int, now: float) -> list[QueuedMessage]:
        """Up to `limit` messages from the front; expired ones are dropped."""
        taken: list[QueuedMessage] = []
        while self.ready and len(taken) < limit:
            one = self.ready.popleft()
            if one.expires_at is not None and one.expires_at <= now:
                one.confirm(now)
            else:
                taken.append(one)
        return taken

    def drop_expired(self, now: float) -> None:
        """Drop the expired messages at the front, also where nobody consumes."""
        while self.ready:
            expires_at = self.ready[0].expires_at
            if expires_at is None or expires_at > now:
                return
            self.ready.popleft().confirm(now)

    def clear(self, now: float) -> None:
        """Drop all that nobody has taken: the queue is deleted."""
        while self.ready:
            self.ready.popleft().confirm(now)

    def state(self, now: float) -> QueueState:
        """Who consumes it, and what nobody has taken."""
        ready = sum(one.expires_at is None or one.expires_at > now for one in self.ready)
        return QueueState(consumers=len(self.consumers), ready=ready)

    def notify(self) -> None:
        """Wake the consumers that wait."""
        for consumer in self.consumers:
            if consumer.waiting:
                consumer.arrived.notify()


class Waiter:
    """A consumer as its queues see it."""

    __slots__ = ("arrived", "waiting")

    def __init__(self, lock: threading.Lock) -> None:
        self.arrived = threading.Condition(lock)
        self.waiting = False
