"""Everything that is under way: the test takes it out of the broker, and decides what arrives where and when."""

from __future__ import annotations

from dataclasses import dataclass, field

from amends.outbox import wire
from amends.outbox.drivers.memory import MemoryBroker
from amends.outbox.message import Message
from amends.outbox.ports import (
    Delivery,
    Outgoing,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
    receipts_queue,
)
from tests.stateful.desk import Sent

PARTICIPANTS = ("x", "y")
Command = tuple[str, str, str, int]  # saga, path, op, attempt


def command_of(body: wire.Command) -> Command:
    """What tells a command from the others."""
    return body.saga, body.path, body.op.value, body.attempt


@dataclass
class Post:
    """`mail` is for the coordinators, `fresh` are commands that nobody has obeyed yet, `obeyed` the others."""

    prefix: str
    participants: tuple[str, ...] = PARTICIPANTS
    mail: list[Message] = field(default_factory=list)
    fresh: list[Sent] = field(default_factory=list)
    obeyed: list[Sent] = field(default_factory=list)
    seen: set[Command] = field(default_factory=set)
    receipts: list[wire.Receipt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.prefix)
        self.shop = receipts_queue(self.prefix, "shop")
        queues = {
            command_queue(self.prefix, name, undo=undo): name
            for name in self.participants
            for undo in (False, True)
        }
        self._queues = queues
        self._consumer = self.broker.consumer(
            [coordinator_queue(self.prefix), dead_letter_queue(self.prefix), self.shop, *queues],
            prefetch=1_000_000,
        )
        self._publisher = self.broker.publisher()
        self._token = 0

    def collect(self) -> list[Sent]:
        """Take what has come out of the outboxes; the commands among it."""
        commands = []
        for delivery in self._consumer.receive(0):
            body = wire.decode(delivery.type, delivery.body)
            if isinstance(body, wire.Command):
                commands.append(Sent(self._queues[delivery.queue], body))
            elif isinstance(body, wire.Receipt):
                self.receipts.append(body)
            else:
                assert delivery.queue == coordinator_queue(self.prefix), f"a dead letter: {delivery}"
                self.mail.append(_message(delivery))
            self._consumer.ack([delivery.tag])
        self.fresh += commands
        self.seen |= {command_of(one.command) for one in commands}
        return commands

    def hand_over(self, *messages: Message) -> None:
        """These arrive at the coordinators' queue; whoever reads it next has them."""
        for message in messages:
            self._token += 1
            self._publisher.publish([Outgoing(self._token, message)])

    def write(self, type_: str, body: wire.Body, saga: str, headers: dict[str, str] | None = None) -> Message:
        """A message to the coordinators."""
        return Message(
            routing_key=coordinator_queue(self.prefix),
            type=type_,
            body=wire.encode(body),
            correlation_id=saga,
            headers=headers or {},
        )

    def is_wiped(self) -> None:
        """The broker loses all it has."""
        self.collect()
        self.mail.clear()
        self.fresh.clear()


def _message(delivery: Delivery) -> Message:
    return Message(
        routing_key=delivery.queue,
        type=delivery.type,
        body=delivery.body,
        message_id=delivery.message_id,
        correlation_id=delivery.correlation_id or None,
        headers={name: str(value) for name, value in delivery.headers.items()},
    )
