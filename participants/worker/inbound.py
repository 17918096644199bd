"""Reading what comes from a command queue."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.limits import BODY_BYTES_MAX
from amends.outbox.message import HEADER_OPTIONAL, Message
from amends.outbox.ports import Delivery, coordinator_queue
from amends.outbox.traces import carrying, parted, trace_of
from amends.outbox.tracing import Tracing, Work
from amends.outbox.wire import Command, Op, Outcome
from amends.participants.barrier.answers import Answer
from amends.participants.logging import CommandScope, command_scope

DELIVERIES_MAX: Final = 10

# kombu decompresses a body before anything can look at it: what is compressed is refused by its header.
_PLAIN: Final = ("", "utf-8", "utf8", "us-ascii", "identity", "binary")
_INT_MAX: Final = 2**31 - 1


class Undeliverable(Exception):
    """A message that cannot be attributed to a saga and step: dead-letter it."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A command as it came, and where its reply goes."""

    command: Command
    delivery: Delivery
    participant: str
    reply_to: str
    prefix: str
    trace: str = ""
    work: Work | None = None

    @property
    def traceparent(self) -> str:
        """The W3C trace context to carry on: the one it came with, or of the work on it; or nothing."""
        return parted(self.trace)[0]

    @property
    def tracestate(self) -> str:
        """What belongs to it."""
        return parted(self.trace)[1]

    @property
    def scope(self) -> CommandScope:
        """What log records tell while it is obeyed."""
        command, (parent, state) = self.command, parted(self.trace)
        return CommandScope(command.saga, command.path, command.op, command.attempt, parent, state)

    def traced(self, tracing: Tracing) -> Inbound:
        """The same, with the work on it begun: what follows from it is that work's child."""
        told = {"amends.saga": self.command.saga, "amends.saga.name": self.command.name}
        work = tracing.work(
            self.delivery,
            **{
                **told,
                "amends.participant": self.participant,
                "amends.path": self.command.path,
                "amends.op": self.command.op.value,
                "amends.command": self.command.command,
                "amends.attempt": self.command.attempt,
            },
        )
        return replace(self, work=work, trace=work.trace)

    def obeyed(self) -> AbstractContextManager[object]:
        """While it is obeyed: for log records, and for spans."""
        scope = command_scope(self.scope)
        if self.work is None:
            return scope
        both = ExitStack()
        both.enter_context(scope)
        both.enter_context(self.work.current())
        return both

    def told(self, answer: Answer) -> None:
        """What it was answered."""
        if self.work is not None:
            self.work.told(answer.outcome.value, is_error=answer.outcome is Outcome.FAILED)

    @property
    def poisonous(self) -> bool:
        """Whether it came so often that it may be what kills the worker each time."""
        return self.delivery.delivery_count > DELIVERIES_MAX

    @property
    def asked_once(self) -> bool:
        """Whether nobody asks again if an answer is lost, be it only that it failed (`Client.send`)."""
        return self.delivery.headers.get(wire.HEADER_ANSWER) == wire.ANSWER_DURABLE

    def reply(self, answer: Answer) -> Message:
        """The answer, as a message to whoever sent the command; a caller (`Client.call`) may be gone by then."""
        headers = carrying(self.trace)
        if self.delivery.headers.get(wire.HEADER_ANSWER) == wire.ANSWER_OPTIONAL:
            headers = {**headers, HEADER_OPTIONAL: "yes"}
        return Message(
            routing_key=self.reply_to,
            type=wire.REPLY,
            body=wire.encode(answer.reply(self.command, self.participant)),
            correlation_id=self.command.saga,
            headers=headers,
        )


def read_inbound(delivery: Delivery, *, participant: str, prefix: str) -> Inbound:
    """The command in a message. Raises: Undeliverable, saying why."""
    if delivery.fault:
        raise Undeliverable(delivery.fault)
    if delivery.content_encoding.lower() not in _PLAIN:
        raise Undeliverable(
            f"content encoding {delivery.content_encoding[:40]!r} is refused; send plain JSON"
        )
    if max(delivery.size_bytes, len(delivery.body)) > BODY_BYTES_MAX:
        raise Undeliverable(f"{delivery.size_bytes:,} bytes are over the limit of {BODY_BYTES_MAX:,}")
    if delivery.type != wire.COMMAND:
        raise Undeliverable(f"a command queue takes {wire.COMMAND}, not {delivery.type[:60]!r}")
    try:
        command = wire.decode(delivery.type, delivery.body)
        if not isinstance(command, Command):
            raise MalformedMessage(f"no command: {type(command).__name__}")
        UUID(command.saga)
    except (MalformedMessage, ValueError) as error:
        raise Undeliverable(str(error)) from error
    of_a_step = command.op is not Op.END
    if not of_a_step <= len(command.path) <= wire.PATH_CHARS_MAX or "\0" in command.path:
        raise Undeliverable(f"a path has 1 to {wire.PATH_CHARS_MAX} characters and no NUL")
    if not (0 <= command.round <= _INT_MAX and 0 <= command.attempt <= _INT_MAX):
        raise Undeliverable("round and attempt are whole numbers from 0 to 2147483647")
    reply_to = delivery.reply_to or coordinator_queue(prefix)
    return Inbound(command, delivery, participant, reply_to, prefix, trace_of(delivery.headers))
