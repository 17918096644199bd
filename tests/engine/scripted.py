"""A participant by the wire alone: it answers commands as a script says, without barrier or database.

It stands for the services on the other side of the broker, so that a test can say exactly which reply comes when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import msgspec

from amends.outbox import wire
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Broker, command_queue, coordinator_queue
from tests.outbox.driving import confirmed, outgoing
from tests.waiting import DEADLINE_S, eventually

Script = Callable[[wire.Command], "wire.Reply | Iterable[wire.Reply] | None"]


def reply(
    command: wire.Command, participant: str, outcome: str = "done", result: object = None, **fields: object
) -> wire.Reply:
    """The reply to a command."""
    return wire.Reply(
        saga=command.saga,
        path=command.path,
        op=command.op,
        round=command.round,
        attempt=command.attempt,
        outcome=wire.Outcome(outcome),
        participant=participant,
        result=msgspec.Raw(msgspec.json.encode(result)),
        closes=command.closes,
        **fields,  # type: ignore[arg-type]
    )


@dataclass
class Scripted:
    """Answers what comes on both queues of a participant; without a script it says `done`, to a fence `never`."""

    broker: Broker
    prefix: str
    name: str
    script: Script | None = None
    received: list[wire.Command] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    _stopping: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._publisher = self.broker.publisher()
        self._thread = Thread(target=self._run, name=f"scripted-{self.name}", daemon=True)

    def start(self) -> Scripted:
        """Begin to consume."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop consuming and publishing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(DEADLINE_S)
        self._publisher.close()

    def send(self, *replies: wire.Reply) -> None:
        """Publish replies and wait for their confirms."""
        messages = [
            Message(
                routing_key=coordinator_queue(self.prefix),
                type=wire.REPLY,
                body=wire.encode(one),
                correlation_id=one.saga,
            )
            for one in replies
        ]
        self.publish(*messages)

    def publish(self, *messages: Message) -> None:
        """Publish any messages and wait for their confirms."""
        with self._lock:
            # The in-process broker confirms at the consumer's ack: to have published is enough there.
            if self.broker.confirms_when_consumed:
                self._publisher.publish(outgoing(messages))
            else:
                confirmed(self._publisher, messages)

    def commands(self, op: str | None = None, path: str | None = None) -> list[wire.Command]:
        """What came so far."""
        return [
            one
            for one in list(self.received)
            if (op is None or one.op == op) and (path is None or one.path == path)
        ]

    def wait_for(self, op: str, path: str, count: int = 1, deadline_s: float = DEADLINE_S) -> wire.Command:
        """The `count`-th command of this op and path."""
        eventually(
            lambda: len(self.commands(op, path)) >= count,
            deadline_s,
            what=f"{count} x {op} of {path} at {self.name}",
        )
        return self.commands(op, path)[count - 1]

    def answer(
        self, command: wire.Command, outcome: str = "done", result: object = None, **fields: object
    ) -> None:
        """Answer a command now."""
        self.send(reply(command, self.name, outcome, result, **fields))

    def _run(self) -> None:
        queues = [command_queue(self.prefix, self.name, undo=undo) for undo in (False, True)]
        consumer = self.broker.consumer(queues, prefetch=100)
        while not self._stopping.is_set():
            try:
                for delivery in consumer.receive(0.1):
                    command = wire.decode(delivery.type, delivery.body)
                    assert isinstance(command, wire.Command)
                    self.received.append(command)
                    self._answer(command)
                    consumer.ack([delivery.tag])
            except BrokerUnavailable:
                self._stopping.wait(0.1)
        consumer.close()

    def _answer(self, command: wire.Command) -> None:
        if self.script is None:
            answer = reply(command, self.name, "never" if command.op is wire.Op.FENCE else "done")
        else:
            given = self.script(command)
            if given is None:
                return
            if not isinstance(given, wire.Reply):
                self.send(*given)
                return
            answer = given
        self.send(answer)
