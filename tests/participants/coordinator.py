"""The other side of the wire, for worker tests: sends commands as a coordinator does and collects the replies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec

from amends.outbox import wire
from amends.outbox.message import Message, new_message_id
from amends.outbox.ports import (
    Broker,
    Delivery,
    Topology,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
)
from amends.outbox.wire import Command, Op, Reply
from tests.outbox.driving import confirmed, outgoing
from tests.waiting import DEADLINE_S


def command(
    name: str,
    args: object = None,
    *,
    op: Op = Op.DO,
    saga: str | None = None,
    path: str | None = None,
    **fields: Any,
) -> Command:
    """A command of a saga that has just started; by default the first attempt of the first round."""
    given: dict[str, Any] = {
        "saga": saga or str(uuid4()),
        "name": "test-saga",
        "path": path or name,
        "op": op,
        "command": name,
        "round": 1,
        "attempt": 1,
        "args": msgspec.Raw(json.dumps(args).encode()),
        "started_at": int(time.time() * 1000),
    }
    return Command(**{**given, **fields})


def again(sent: Command, **changes: Any) -> Command:
    """The same command with some fields changed."""
    return msgspec.structs.replace(sent, **changes)


class FakeCoordinator:
    """Used by one thread: a test's."""

    def __init__(self, broker: Broker, prefix: str, participant: str) -> None:
        self._prefix = prefix
        self._confirms_when_consumed = broker.confirms_when_consumed
        self._participant = participant
        broker.declare(
            Topology(
                frozenset({command_queue(prefix, participant, undo=undo) for undo in (False, True)})
                | {coordinator_queue(prefix), dead_letter_queue(prefix)}
            )
        )
        self._publisher = broker.publisher()
        self._consumer = broker.consumer(
            [coordinator_queue(prefix), dead_letter_queue(prefix)], prefetch=1000
        )
        self.replies: list[Reply] = []
        self.reply_deliveries: list[Delivery] = []
        self.dead: list[Delivery] = []

    def send(self, command: Command, **fields: Any) -> Command:
        """Send a command to its queue."""
        message = Message(
            routing_key=command_queue(self._prefix, self._participant, undo=command.op is not Op.DO),
            type=wire.COMMAND,
            body=wire.encode(command),
            correlation_id=command.saga,
            reply_to=coordinator_queue(self._prefix),
            **fields,
        )
        self.publish(message)
        return command

    def publish(self, message: Message) -> None:
        """Send any message, and wait for the broker's confirm; the in-process broker's comes with the ack only."""
        fresh = replace(message, message_id=new_message_id())
        if self._confirms_when_consumed:
            self._publisher.publish(outgoing([fresh]))
        else:
            confirmed(self._publisher, [fresh])

    def ask(self, command: Command, deadline_s: float = DEADLINE_S) -> Reply:
        """Send a command and give its reply."""
        self.send(command)
        return self.await_reply(lambda reply: _answers(reply, command), deadline_s)

    def await_reply(self, wanted: Callable[[Reply], bool], deadline_s: float = DEADLINE_S) -> Reply:
        """The first reply, also an earlier one, of which `wanted` is true; takes it out of `replies`."""
        deadline = time.monotonic() + deadline_s
        while True:
            for reply in self.replies:
                if wanted(reply):
                    self.replies.remove(reply)
                    return reply
            assert time.monotonic() < deadline, f"no such reply in {deadline_s} s; there are {self.replies}"
            self.receive()

    def await_dead(self, deadline_s: float = DEADLINE_S) -> Delivery:
        """The next dead letter."""
        deadline = time.monotonic() + deadline_s
        while not self.dead:
            assert time.monotonic() < deadline, "no dead letter came"
            self.receive()
        return self.dead.pop(0)

    def receive(self, timeout_s: float = 0.1) -> None:
        """Collect what is there."""
        self._publisher.settled(0)  # Its heartbeats.
        for delivery in self._consumer.receive(timeout_s):
            self._consumer.ack([delivery.tag])
            if delivery.queue == dead_letter_queue(self._prefix):
                self.dead.append(delivery)
                continue
            reply = wire.decode(delivery.type, delivery.body)
            assert isinstance(reply, Reply)
            self.replies.append(reply)
            self.reply_deliveries.append(delivery)

    def close(self) -> None:
        """Leave the broker."""
        self._publisher.close()
        self._consumer.close()


def _answers(reply: Reply, command: Command) -> bool:
    return (reply.saga, reply.path, reply.op, reply.round, reply.attempt) == (
        command.saga,
        command.path,
        command.op,
        command.round,
        command.attempt,
    )
