"""The broker: queues, what is delivered and not acknowledged, and connections that break.

A message is delivered to one consumer at a time, in any order; what a consumer held when it died is delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Delivery, Fate


class Parcel(NamedTuple):
    """A message in a queue. `expires` is by the broker's clock; `before` how often it was delivered already."""

    message: Message
    expires: int | None
    before: int = 0


class Broker:
    """One broker. Connections are of an `epoch`; a break ends them all."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.queues: dict[str, list[Parcel]] = {}
        self.consumers: list[Consumer] = []
        self.epoch = 0
        self.events = 0
        self.redelivered = 0
        self._tags = 0
        self._taken: set[str] = set()

    def declare(self, queues: Iterable[str]) -> None:
        """Make these queues, where they are not there."""
        for queue in queues:
            self.queues.setdefault(queue, [])

    def publish(self, message: Message) -> Fate:
        """Take a message: into its queue, or to whoever subscribed."""
        if message.exchange:
            self.events += 1
            self._taken.add(message.message_id)
            return Fate.CONFIRMED
        if message.routing_key not in self.queues:
            return Fate.RETURNED
        self._taken.add(message.message_id)
        keeps = message.expiration_ms
        expires = None if keeps is None else self._now() + keeps
        self.queues[message.routing_key].append(Parcel(message, expires))
        return Fate.CONFIRMED

    def has_taken(self, message_id: str) -> bool:
        """Whether it ever took this message, even if it lost it then."""
        return message_id in self._taken

    def take(self, queue: str, rng: Random) -> Parcel | None:
        """Deliver one message, mostly the oldest. What has expired is gone."""
        waiting = self.queues.get(queue)
        while waiting:
            parcel = waiting.pop(rng.randrange(len(waiting)) if rng.random() < 0.3 else 0)
            if parcel.expires is None or parcel.expires > self._now():
                return parcel
        return None

    def next_tag(self) -> int:
        """A delivery tag that nobody ever had."""
        self._tags += 1
        return self._tags

    def break_connections(self) -> None:
        """Every connection ends: what was delivered and not acknowledged comes again."""
        self.epoch += 1
        for consumer in self.consumers:
            consumer.give_up()

    def wipe(self) -> None:
        """Everything is lost, queues included."""
        self.epoch += 1
        self.queues.clear()
        for consumer in self.consumers:
            consumer.unacked.clear()

    def lose_some(self, rng: Random) -> int:
        """Some messages are lost; how many."""
        lost = 0
        for queue, waiting in self.queues.items():
            left = [parcel for parcel in waiting if rng.random() < 0.7]
            lost += len(waiting) - len(left)
            self.queues[queue] = left
        return lost

    @property
    def is_empty(self) -> bool:
        """Whether nothing is queued, delivered or on its way."""
        return not any(self.queues.values()) and not any(one.unacked for one in self.consumers)


class Consumer:
    """One consumer of some queues."""

    def __init__(self, broker: Broker, queues: Sequence[str], *, prefetch: int) -> None:
        self._broker = broker
        self._queues = queues
        self._prefetch = prefetch
        self._epoch = -1
        self.unacked: dict[int, tuple[str, Parcel]] = {}
        self._acked: set[int] = set()
        broker.consumers.append(self)

    @property
    def has_some(self) -> bool:
        """Whether there is something to receive, or the connection is to be made."""
        return self._epoch != self._broker.epoch or any(
            self._broker.queues.get(queue) for queue in self._queues
        )

    def receive(self, rng: Random, most: int) -> list[Delivery]:
        """Some messages. A connection that broke is made anew, and its queues declared."""
        if self._epoch != self._broker.epoch:
            self._broker.declare(self._queues)
            self._epoch = self._broker.epoch
        deliveries: list[Delivery] = []
        while len(deliveries) < most and len(self.unacked) < self._prefetch:
            filled = [queue for queue in self._queues if self._broker.queues.get(queue)]
            if not filled:
                break
            queue = rng.choice(filled)
            parcel = self._broker.take(queue, rng)
            if parcel is not None:
                deliveries.append(self._deliver(queue, parcel))
        return deliveries

    def _deliver(self, queue: str, parcel: Parcel) -> Delivery:
        tag = self._broker.next_tag()
        self.unacked[tag] = (queue, parcel)
        self._broker.redelivered += parcel.before > 0
        message = parcel.message
        return Delivery(
            tag=tag,
            queue=queue,
            body=message.body,
            type=message.type,
            message_id=message.message_id,
            correlation_id=message.correlation_id or "",
            reply_to=message.reply_to or "",
            headers=message.headers,
            redelivered=parcel.before > 0,
            delivery_count=0,  # The poison limit is the real consumers' matter: here a run may be unlucky for long.
        )

    def ack(self, tags: Iterable[int]) -> None:
        """These are dealt with. Tags of a connection that broke are ignored."""
        for tag in tags:
            self.unacked.pop(tag, None)
            self._acked.add(tag)

    def has_acked(self, tag: int) -> bool:
        """Whether this delivery was acknowledged."""
        return tag in self._acked

    def requeue(self, tags: Iterable[int]) -> None:
        """These go back to their queues."""
        for tag in tags:
            found = self.unacked.pop(tag, None)
            if found is not None and found[0] in self._broker.queues:
                queue, parcel = found
                self._broker.queues[queue].insert(0, parcel._replace(before=parcel.before + 1))

    def give_up(self) -> None:
        """The connection is gone: the broker takes back what was not acknowledged."""
        self.requeue(list(self.unacked))

    def close(self) -> None:
        """The consumer dies."""
        self.give_up()
        self._broker.consumers.remove(self)


class Channel:
    """A publisher's connection: what is on the wire, and what the broker said of it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._epoch = broker.epoch

    def publish(self, message: Message) -> Fate:
        """Put one message on the wire. Raises: BrokerUnavailable."""
        self.check()
        return self._broker.publish(message)

    def check(self) -> None:
        """Raises: BrokerUnavailable, once, if the connection broke."""
        if self._epoch != self._broker.epoch:
            self._epoch = self._broker.epoch
            raise BrokerUnavailable("the connection was lost")
