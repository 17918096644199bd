"""The lanes of a worker that hear of events: one for each subscriber, with threads of its own."""

from __future__ import annotations

from typing import Final

from amends.outbox.ports import (
    Binding,
    Broker,
    Topology,
    event_queue,
    events_exchange,
    finished_queue,
)
from amends.outbox.sender import Sender
from amends.participants.barrier.barrier import Barrier
from amends.participants.events.finishing import Finishing
from amends.participants.events.hearing import Hearing
from amends.participants.events.subscriptions import ATTEMPTS
from amends.participants.events.taking import Taking
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Handler, Participant
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.lane import Lane, Obey
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Transactions

FINISHED_THREADS: Final = 2


def topology_of(participant: Participant, prefix: str) -> Topology:
    """The queues of a participant's subscribers, and what binds them."""
    exchange = events_exchange(prefix)
    bindings = frozenset(
        Binding(event_queue(prefix, participant.name, one.name), exchange, pattern)
        for one in participant.subscriptions
        for pattern in one.patterns
    )
    queues = frozenset(binding.queue for binding in bindings)
    if participant.finishers:
        queues |= {finished_queue(prefix, participant.name)}
    return Topology(queues, frozenset({exchange}) if bindings else frozenset(), bindings)


def threads_of(participant: Participant) -> int:
    """How many threads a worker of this participant has for its subscribers."""
    finishing = FINISHED_THREADS if participant.finishers else 0
    return sum(one.threads for one in participant.subscriptions) + finishing


def event_lanes(
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
    """One lane for each subscriber, not started: events wait neither for commands nor for each other's handlers."""

    def taking(handler: Handler | None, attempts: int) -> Taking:
        return Taking(
            handler,
            participant=participant.name,
            prefix=prefix,
            attempts=attempts,
            barrier=barrier,
            transactions=transactions,
            sender=sender,
            guard=guard,
            metrics=metrics,
        )

    def lane(name: str, queue: str, obey: Obey, threads: int) -> Lane:
        return Lane(
            f"{participant.name}-{name}",
            broker,
            queue,
            obey,
            gate,
            stopwatch,
            threads=threads,
            prefetch=threads * settings.prefetch,
            time_limit_s=settings.time_limit_s,
        )

    lanes = []
    for one in participant.subscriptions:
        hearing = Hearing(one, taking(one.handler, one.attempts), participant=participant.name, prefix=prefix)
        queue = event_queue(prefix, participant.name, one.name)
        lanes.append(lane(f"on-{one.name}", queue, hearing.obey, one.threads))
    finishers = participant.finishers
    if finishers:
        finishing = Finishing(
            finishers,
            {one.handler.name: taking(one.handler, one.attempts) for one in finishers},
            taking(None, ATTEMPTS),
            participant=participant.name,
            prefix=prefix,
        )
        queue = finished_queue(prefix, participant.name)
        lanes.append(lane("finished", queue, finishing.obey, FINISHED_THREADS))
    return lanes
