"""The seam between amends and a message broker: one publisher, one consumer, two drivers.

`amends.outbox.drivers.amqp` speaks to RabbitMQ, `amends.outbox.drivers.memory` is a broker inside this process.
One contract suite (`tests/outbox/test_driver_contract.py`) holds both to these words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec

from amends.outbox.message import Message

DEAD_LETTERS = "dead"


class Fate(Enum):
    """What the broker said of a published message.

    RETURNED: no queue took a message that is `mandatory` (the broker acks it as well; it is not confirmed, O1).
    NACKED: the broker could not take it. UNROUTABLE: its exchange is missing; it broke the channel (O4).
    TOO_LARGE: over the broker's or the driver's limit; it broke the channel or was not sent.
    """

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNROUTABLE = "unroutable"
    TOO_LARGE = "too_large"


class Outgoing(NamedTuple):
    """A message with the publisher's own handle for it: the caller chooses `token`, unique while it is pending."""

    token: int
    message: Message


class Settled(NamedTuple):
    """What became of one published message."""

    token: int
    fate: Fate
    reason: str = ""
    confirm_s: float = 0.0  # seconds from publish to this answer


class QueueState(NamedTuple):
    """A queue as the broker sees it: who consumes it, and how many messages nobody has taken yet."""

    consumers: int
    ready: int


class Publisher(Protocol):
    """Pipelined publishing with confirms. One thread owns a publisher; only `wake` may come from others.

    It connects at its first use and after a failure. Every method that does I/O raises BrokerUnavailable when
    the broker is away or broke off: then everything that was pending is of unknown outcome, and is forgotten.
    """

    @property
    def pending(self) -> int:
        """How many messages are published and not settled."""

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Put messages on the wire without waiting for their confirms."""

    def settled(self, timeout_s: float) -> list[Settled]:
        """What was settled since the last call; waits up to `timeout_s` for the first, or for a `wake`.

        It also answers heartbeats, so call it at least once a second while idle.
        """

    def wake(self) -> None:
        """Let a `settled` that waits in another thread return at once."""

    def close(self) -> None:
        """Give up the connection; pending messages are forgotten."""


class Delivery(msgspec.Struct, frozen=True):
    """One message from a queue. `tag` is the consumer's handle, never reused by it, also not after a reconnect.

    `fault` is why it must not be believed, such as a signature that does not fit: put it to the dead letters, and send
    nothing to where its headers say.
    """

    tag: int
    queue: str
    body: bytes
    type: str = ""
    message_id: str = ""
    correlation_id: str = ""
    reply_to: str = ""
    content_type: str = ""
    content_encoding: str = ""
    headers: Mapping[str, object] = {}
    redelivered: bool = False
    delivery_count: int = 0  # how often the queue has delivered it before, as far as the broker tells
    size_bytes: int = 0
    expiration: str = ""  # how long the broker would have kept it: milliseconds, as text; empty: for ever
    fault: str = ""


class Consumer(Protocol):
    """Deliveries from some queues. One thread calls `receive` and `close`; `ack`, `requeue`, `wake` are thread-safe.

    It connects at the first `receive` and declares the topology. When the connection breaks, `receive` raises
    BrokerUnavailable; the next call connects anew, and tags of the old connection are quietly ignored: the broker
    has taken those messages back.
    """

    def receive(self, timeout_s: float) -> list[Delivery]:
        """What has arrived; waits up to `timeout_s` for the first, or for a `wake`.

        Sends the acknowledgements that `ack` and `requeue` gathered, and answers heartbeats.
        """

    def ack(self, tags: Iterable[int]) -> None:
        """These messages are dealt with, durably. Sent at the next `receive`, which is woken."""

    def requeue(self, tags: Iterable[int]) -> None:
        """Hand these messages back to their queues."""

    def wake(self) -> None:
        """Let a `receive` that waits in another thread return at once."""

    def close(self) -> None:
        """Send gathered acknowledgements, then leave: the broker takes back what was not acknowledged."""


class Binding(NamedTuple):
    """A queue that gets a copy of what a topic exchange is given under a routing key that `pattern` takes."""

    queue: str
    exchange: str
    pattern: str


class Mailbox(Consumer, Protocol):
    """A consumer of a queue of its own, which nobody else may consume and which goes with its connection.

    What was sent to an earlier connection's queue, and not received, is lost.
    """

    @property
    def address(self) -> str:
        """The queue's name; empty while there is none. Every connection has another."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Queues, topic exchanges and what binds them, redeclared, identically, at every connect.

    Queues and exchanges that are bound belong to it as well.
    """

    queues: frozenset[str] = frozenset()
    exchanges: frozenset[str] = frozenset()
    bindings: frozenset[Binding] = frozenset()

    def __or__(self, other: Topology) -> Topology:
        return Topology(
            self.queues | other.queues, self.exchanges | other.exchanges, self.bindings | other.bindings
        )

    def __sub__(self, other: Topology) -> Topology:
        return Topology(
            self.queues - other.queues, self.exchanges - other.exchanges, self.bindings - other.bindings
        )


class Broker(Protocol):
    """Where publishers and consumers come from. Thread-safe. Opening one does no I/O."""

    @property
    def confirms_when_consumed(self) -> bool:
        """Whether a confirm waits for the consumer's ack: then none may come for long, and nothing is wrong."""

    def declare(self, topology: Topology) -> None:
        """Add to what every publisher and consumer of this broker declares when it connects.

        Publishers and consumers that are connected declare what was added before their next operation.
        """

    def publisher(self) -> Publisher:
        """A new publisher, not connected yet."""

    def consumer(self, queues: Sequence[str], *, prefetch: int) -> Consumer:
        """A new consumer of these queues, not connected yet; it adds them to the topology.

        Of each queue it has at most `prefetch` messages unacknowledged.
        """

    def mailbox(self, name: str, *, prefetch: int) -> Mailbox:
        """A new mailbox, not connected yet; its addresses begin with `name`."""

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        """How these queues stand; None where there is no such queue. Changes nothing, declares nothing.

        Each of the broker's hosts has `timeout_s` to let us in, and as long for each answer.
        Raises: BrokerUnavailable.
        """

    def close(self) -> None:
        """Let go what the broker object itself holds."""


def command_queue(prefix: str, participant: str, *, undo: bool) -> str:
    """`<prefix>.<participant>.do` or `.undo`: undo, confirm and fence never wait behind new work."""
    return f"{prefix}.{participant}.{'undo' if undo else 'do'}"


def event_queue(prefix: str, participant: str, subscriber: str) -> str:
    """`<prefix>.<participant>.on.<subscriber>`: the events that one handler of a participant wants to hear of."""
    return f"{prefix}.{participant}.on.{subscriber}"


def finished_queue(prefix: str, participant: str) -> str:
    """`<prefix>.<participant>.finished`: what became of the sagas whose starts name this participant."""
    return f"{prefix}.{participant}.finished"


def coordinator_queue(prefix: str) -> str:
    """Where replies and starts go."""
    return f"{prefix}.coordinator"


def receipts_queue(prefix: str, service: str) -> str:
    """Where the coordinator's receipts for one service's outbox table go."""
    return f"{prefix}.receipts.{service}"


def answers_queue(prefix: str, service: str) -> str:
    """Where the answers to a service's `send` go."""
    return f"{prefix}.{service}.answers"


def dead_letter_queue(prefix: str) -> str:
    """Where messages go that cannot be attributed to a saga and step."""
    return f"{prefix}.{DEAD_LETTERS}"


def events_exchange(prefix: str) -> str:
    """The topic exchange of domain events."""
    return f"{prefix}.events"
