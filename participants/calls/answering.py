"""Answers from a service's queue: read, and taken by their handlers, each once, in the handler's transaction.

What is final (done, refused, expired) is taken once for a call, whichever copy comes first. A failure is news each
time: whoever sent the call may have sent it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

from amends.db.crashpoints import crash_point
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.ports import Broker, Delivery, Topology, answers_queue
from amends.outbox.sender import Sender
from amends.participants.barrier.barrier import Barrier
from amends.participants.calls.answer import read_reply
from amends.participants.calls.answers import AnswerHandler, AnswerHandlers
from amends.participants.calls.request import command_called
from amends.participants.context import Ctx, Workspace
from amends.participants.errors import InvalidPayload
from amends.participants.events.arrivals import (
    HEADER_TRIES,
    Arrival,
    count_in,
    plain_body,
    traceparent_of,
)
from amends.participants.events.taking import Taking
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Participant
from amends.participants.worker.calling import Caller
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.lane import Lane
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Transactions


class Answering:
    """What a lane does with answers. Thread-safe."""

    def __init__(self, handlers: AnswerHandlers, taking: Callable[[AnswerHandler], Taking]) -> None:
        self._handlers = handlers
        self._takings = {id(one): taking(one) for one in handlers}
        # Whatever nobody here takes, any of them may put aside.
        self._any = next(iter(self._takings.values()))

    def obey(
        self, deliveries: Sequence[Delivery], caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        """Deal with some answers; `done` is told of each that is, durably. Raises: StoreUnavailable, CommitUnknown."""
        crash_point("participant.received")
        for delivery in deliveries:
            self._take(delivery, caller)
            done([delivery])

    def _take(self, delivery: Delivery, caller: Caller) -> None:
        try:
            if delivery.type != wire.REPLY:
                raise MalformedMessage(f"a queue of answers takes {wire.REPLY}, not {delivery.type[:60]!r}")
            reply = read_reply(plain_body(delivery))
            command = command_called(reply.path)
            if command is None:
                raise MalformedMessage(f"no answer to a call: path {reply.path[:60]!r}")
            arrival = _arrival(delivery, reply, command)
        except (MalformedMessage, InvalidPayload, ValueError) as error:
            self._any.bury(delivery, None, str(error))
            return
        handler = self._handlers.find(reply.participant, command)
        if handler is None:
            # A newer process may know it.
            why = f"nobody here takes the answers of {reply.participant[:120]!r} to {command[:120]!r}"
            self._any.put_off(delivery, arrival, why)
            return
        self._takings[id(handler)].take(delivery, arrival, caller)


def answers_topology(participant: Participant, prefix: str) -> Topology:
    """The queue of a participant's answers, if it takes any."""
    wanted = bool(len(participant.answers))
    return Topology(frozenset({answers_queue(prefix, participant.name)}) if wanted else frozenset())


def answer_lanes(
    participant: Participant,
    broker: Broker,
    prefix: str,
    settings: WorkerSettings,
    *,
    barrier: Barrier,
    transactions: Transactions,
    sender: Sender,
    guard: TransactionGuard,
    metrics: ParticipantMetrics,
    gate: DatabaseGate,
    stopwatch: Stopwatch,
) -> list[Lane]:
    """One lane, not started, if the participant takes answers: they wait neither for commands nor for events."""
    handlers = participant.answers
    if not len(handlers):
        return []

    def taking(one: AnswerHandler) -> Taking:
        return Taking(
            one.handler,
            participant=participant.name,
            prefix=prefix,
            attempts=one.attempts,
            barrier=barrier,
            transactions=transactions,
            sender=sender,
            guard=guard,
            metrics=metrics,
        )

    return [
        Lane(
            f"{participant.name}-answers",
            broker,
            answers_queue(prefix, participant.name),
            Answering(handlers, taking).obey,
            gate,
            stopwatch,
            threads=handlers.threads,
            prefetch=handlers.threads * settings.prefetch,
            time_limit_s=settings.time_limit_s,
        )
    ]


def _arrival(delivery: Delivery, reply: wire.Reply, command: str) -> Arrival:
    """Raises: ValueError for a call's id that is no UUID."""
    path = f"answer/{command}"
    if reply.outcome is wire.Outcome.FAILED:
        path = f"{path}/{delivery.message_id}"

    def context(workspace: Workspace) -> Ctx:
        return Ctx(
            saga=reply.saga,
            saga_name=reply.participant,
            path=path,
            op=wire.Op.DO,
            round=1,
            attempt=count_in(delivery, HEADER_TRIES) + 1,
            traceparent=traceparent_of(delivery),
            workspace=workspace,
        )

    return Arrival(
        key=UUID(reply.saga),
        path=path[: wire.PATH_CHARS_MAX],
        payload=delivery.body,
        started_ms=time.time_ns() // 1_000_000,
        context=context,
        described={
            "call": reply.saga,
            "participant_asked": reply.participant[:120],
            "answer_to": command[:120],
        },
    )
