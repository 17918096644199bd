"""The network and the broker between all parties, under a test's control: it holds, loses and repeats messages.

It stands in front of a real broker. What is held or lost is confirmed to its sender all the same: for its sender a
message that is slow and one that is lost look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

from amends.outbox import wire
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Consumer, Fate, Outgoing, Publisher, QueueState, Settled, Topology
from tests.outbox.driving import confirmed, outgoing
from tests.waiting import eventually


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message on its way, and what it says; `body` is None for one that is none of ours."""

    message: Message
    body: Any

    def is_a(self, kind: str, wanted: dict[str, object]) -> bool:
        """Whether it is of this kind (command, reply, start, receipt) with these fields."""
        return (
            self.body is not None
            and self.message.type == f"amends.{kind}"
            and all(getattr(self.body, name, None) == value for name, value in wanted.items())
        )


class Holding(Protocol):
    """Something that keeps messages back."""

    def takes(self, parcel: Parcel) -> bool:
        """Whether this one is kept back."""


@dataclass(slots=True)
class Held:
    """What the network keeps back: messages of one kind with these fields, at most `most` of them."""

    kind: str
    wanted: dict[str, object]
    most: int | None
    send: Callable[[list[Message]], None]
    parcels: list[Parcel] = field(default_factory=list)
    _taken: int = 0

    def takes(self, parcel: Parcel) -> bool:
        """Whether this one is kept back."""
        if self._taken == self.most or not parcel.is_a(self.kind, self.wanted):
            return False
        self._taken += 1
        self.parcels.append(parcel)
        return True

    def wait(self, count: int = 1) -> Any:
        """Until so many are held; what the last of them says."""
        eventually(lambda: len(self.parcels) >= count, what=f"{count} x {self.kind} {self.wanted}")
        return self.parcels[count - 1].body

    def release(self, *, copies: int = 1) -> None:
        """Let what is held go on its way, so many times over."""
        parcels, self.parcels = self.parcels, []
        # A message that a network held back does not expire in a queue.
        self.send([replace(one.message, expiration_ms=None) for one in parcels] * copies)

    def open(self) -> None:
        """Hold nothing any more, and let everything go."""
        self.most = self._taken
        self.release()


class Network:
    """A broker whose messages a test may stop on their way. Thread-safe."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = Lock()
        self._held: list[Holding] = []
        self._mute: set[str] = set()
        self._sent: list[Parcel] = []
        self._own = broker.publisher()

    @property
    def confirms_when_consumed(self) -> bool:
        return self._broker.confirms_when_consumed

    def declare(self, topology: Topology) -> None:
        self._broker.declare(topology)

    def publisher(self) -> Publisher:
        return _NetworkPublisher(self, self._broker.publisher())

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        return self._broker.consumer(queues, prefetch=prefetch)

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        return self._broker.look(queues, timeout_s=timeout_s)

    def close(self) -> None:
        """Only our own part: the broker belongs to somebody else."""
        self._own.close()

    def hold(self, kind: str, *, most: int | None = None, **wanted: object) -> Held:
        """Keep back messages of this kind with these fields from now on; lost are those that nobody releases."""
        held = Held(kind, wanted, most, self.send)
        self.hold_by(held)
        return held

    def hold_by(self, holding: Holding) -> None:
        """Let this decide, too, what is kept back from now on."""
        with self._lock:
            self._held.append(holding)

    def calm_down(self) -> None:
        """Hold nothing and mute nobody any more; what is held still is lost."""
        with self._lock:
            self._held.clear()
            self._mute.clear()

    def sent(self, kind: str, **wanted: object) -> list[Any]:
        """What was said so far in messages of this kind with these fields, also in those that were held."""
        with self._lock:
            return [one.body for one in self._sent if one.is_a(kind, wanted)]

    def messages(self, kind: str, **wanted: object) -> list[Message]:
        """As `sent`, with their envelopes."""
        with self._lock:
            return [one.message for one in self._sent if one.is_a(kind, wanted)]

    def mute(self, *queues: str) -> None:
        """These queues, and no others, never confirm: they have lost their leader."""
        with self._lock:
            self._mute = set(queues)

    def send(self, messages: list[Message]) -> None:
        """Publish, past all that is held, and wait for the confirms."""
        with self._lock:
            if self.confirms_when_consumed:
                self._own.publish(outgoing(messages))
                return
            try:
                confirmed(self._own, messages)
            except BrokerUnavailable:
                # Nobody kept this connection alive since it was last used; publishing opens it again.
                confirmed(self._own, messages)

    def takes(self, message: Message) -> bool:
        """Note a message that is being published; whether it goes no further."""
        parcel = Parcel(message, _body(message))
        with self._lock:
            self._sent.append(parcel)
            return any(held.takes(parcel) for held in self._held)

    def is_mute(self, message: Message) -> bool:
        """Whether it goes to a queue that never confirms."""
        with self._lock:
            return not message.exchange and message.routing_key in self._mute


class _NetworkPublisher:
    """Its channel is held up, as RabbitMQ's is, by a message to a queue without a leader, until it is closed."""

    def __init__(self, network: Network, publisher: Publisher) -> None:
        self._network = network
        self._publisher = publisher
        self._confirmed: list[Settled] = []
        self._stuck = 0

    @property
    def pending(self) -> int:
        return self._publisher.pending + self._stuck + len(self._confirmed)

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        going = []
        for one in outgoing:
            if self._stuck or self._network.is_mute(one.message):
                self._stuck += 1
            elif self._network.takes(one.message):
                self._confirmed.append(Settled(one.token, Fate.CONFIRMED))
            else:
                going.append(one)
        self._publisher.publish(going)

    def settled(self, timeout_s: float) -> list[Settled]:
        confirmed, self._confirmed = self._confirmed, []
        return confirmed + self._publisher.settled(0.0 if confirmed else timeout_s)

    def wake(self) -> None:
        self._publisher.wake()

    def close(self) -> None:
        self._confirmed.clear()
        self._stuck = 0
        self._publisher.close()


def _body(message: Message) -> Any:
    try:
        return wire.decode(message.type, message.body)
    except wire.MalformedMessage:
        return None
