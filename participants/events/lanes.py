"""The lanes of a worker that hear of events: one for each subscriber, with threads of its own."""

from __future__ import annotations

from amends.outbox.ports import Binding, Broker, Topology, event_queue, events_exchange
from amends.outbox.sender import Sender
from amends.participants.barrier.barrier import Barrier
from amends.participants.events.hearing import Hearing
from amends.participants.events.taking import Taking
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Participant
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.lane import Lane
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Transactions


def topology_of(participant: Participant, prefix: str) -> Topology:
    """The queues of a participant's subscribers, and what binds them."""
    exchange = events_exchange(prefix)
    bindings = frozenset(
        Binding(event_queue(prefix, participant.name, one.name), exchange, pattern)
        for one in participant.subscriptions
        for pattern in one.patterns
    )
    queues = frozenset(binding.queue for binding in bindings)
    return Topology(queues, frozenset({exchange}) if bindings else frozenset(), bindings)


def threads_of(participant: Participant) -> int:
    """How many threads a worker of this participant has for its subscribers."""
    return sum(one.threads for one in participant.subscriptions)


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
    lanes = []
    for one in participant.subscriptions:
        taking = Taking(
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
        hearing = Hearing(one, taking, participant=participant.name, prefix=prefix)
        lanes.append(
            Lane(
                f"{participant.name}-on-{one.name}",
                broker,
                event_queue(prefix, participant.name, one.name),
                hearing.obey,
                gate,
                stopwatch,
                threads=one.threads,
                prefetch=one.threads * settings.prefetch,
                time_limit_s=settings.time_limit_s,
            )
        )
    return lanes
