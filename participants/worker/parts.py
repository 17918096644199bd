"""What a running worker consists of: built at its start, in the process that works, and stopped in order."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.mysql import let_go
from amends.db.tables import participant as tables
from amends.outbox.observer import OutboxObserver
from amends.outbox.ports import (
    Broker,
    Topology,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
    events_exchange,
)
from amends.outbox.relay import Relay
from amends.outbox.sender import Sender
from amends.outbox.storage import OutboxStats
from amends.outbox.store import OutboxStore
from amends.participants.barrier.barrier import Barrier
from amends.participants.barrier.store import BarrierStore
from amends.participants.calls.answering import answer_lanes, answers_topology
from amends.participants.events.lanes import event_lanes, topology_of
from amends.participants.locks.store import LockStore
from amends.participants.metrics import ParticipantMetrics
from amends.participants.participant import Participant
from amends.participants.worker.databases import own_engine, require_ready
from amends.participants.worker.execution import Execution
from amends.participants.worker.fitting import Fit
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.guard import TransactionGuard
from amends.participants.worker.housekeeping import Housekeeping
from amends.participants.worker.lane import Lane
from amends.participants.worker.queueing import Queueing
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.sizing import BatchSize
from amends.participants.worker.stopwatch import Stopwatch
from amends.participants.worker.transactions import Transactions

_FLUSH_S: Final = 5.0


class Parts:
    """One process's threads: two lanes and one for each subscriber, the sender, the relay, the housekeeping."""

    def __init__(
        self,
        participant: Participant,
        engine: Engine,
        broker: Broker,
        prefix: str,
        service: str,
        settings: WorkerSettings,
        metrics: ParticipantMetrics,
        outbox_observer: OutboxObserver,
        on_overdue: Callable[[], None],
        fit: Fit,
    ) -> None:
        """No I/O."""
        self._settings = settings
        own = own_engine(engine)
        label = f"participant {participant.name} {socket.gethostname()}:{os.getpid()}"
        do, undo = (command_queue(prefix, participant.name, undo=undo) for undo in (False, True))
        self._engine = own
        self._given = engine
        self._store = store = OutboxStore(tables.outbox, tables.owner)
        topology = Topology(
            frozenset({do, undo, coordinator_queue(prefix), dead_letter_queue(prefix)}),
            frozenset({events_exchange(prefix)}),
        ) | (topology_of(participant, prefix) | answers_topology(participant, prefix))
        self.gate = DatabaseGate(lambda: require_ready(own))
        self._sender = Sender(
            broker,
            store,
            own,
            label=label,
            topology=topology,
            observer=outbox_observer,
            crash_scope="participant",
        )
        self._relay = (
            Relay(
                own,
                broker,
                store=store,
                prefix=prefix,
                service=service,
                label=label,
                observer=outbox_observer,
            )
            if settings.relay
            else None
        )
        batch = BatchSize(fit.batch)
        locks = LockStore(own.dialect.name)
        stopwatch = Stopwatch(settings.time_limit_s, on_overdue)
        barrier = Barrier(
            BarrierStore(
                own.dialect.name, retention_s=settings.retention_s, lock_timeout_s=settings.lock_timeout_s
            )
        )
        transactions, guard = Transactions(own, store, self._sender), TransactionGuard(own)
        execution = Execution(
            participant,
            prefix,
            barrier,
            transactions,
            self._sender,
            guard,
            metrics,
            lease_s=settings.lease_s,
            batch=batch,
            together_max=settings.batch,
            stopwatch=stopwatch,
            locks=locks,
        )
        queueing = Queueing(fit.limits, execution.turn_away, prefetch=settings.threads * fit.at_hand)
        self._housekeeping = Housekeeping(own, stopwatch, self.gate, settings.retention_s, locks)
        self._lanes = [
            Lane(
                f"{participant.name}-{name}",
                broker,
                queue,
                execution.obey,
                self.gate,
                stopwatch,
                threads=threads,
                prefetch=threads * (fit.at_hand if name == "do" else settings.at_hand),
                batch=batch if name == "do" else None,
                queueing=queueing if name == "do" else None,
                time_limit_s=settings.time_limit_s,
            )
            for name, queue, threads in (("do", do, settings.threads), ("undo", undo, settings.undo_threads))
        ]
        for lanes in (event_lanes, answer_lanes):
            self._lanes += lanes(
                participant,
                broker,
                prefix,
                settings,
                barrier=barrier,
                transactions=transactions,
                sender=self._sender,
                guard=guard,
                metrics=metrics,
                gate=self.gate,
                stopwatch=stopwatch,
            )

    def outbox_stats(self) -> OutboxStats:
        """What stands in this database's outbox. Raises: StoreUnavailable."""
        with transaction(self._engine) as connection:
            return self._store.stats(connection)

    @property
    def broker_up(self) -> bool:
        """Whether all its queues are being consumed."""
        return all(lane.connected for lane in self._lanes)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What keeps it from working, in words; nothing if it works."""
        of_relay = () if self._relay is None else self._relay.status().waits_for
        told = (("the database", self.gate.is_open), ("the broker", self.broker_up))
        own = [what for what, is_well in told if not is_well]
        return (*own, *(what for what in of_relay if what not in own))

    def start(self) -> None:
        """Start every thread."""
        self._sender.start()
        if self._relay is not None:
            self._relay.start()
        self._housekeeping.start()
        for lane in self._lanes:
            lane.start()

    def stop(self, grace_s: float) -> bool:
        """Finish what runs, for at most `grace_s` seconds; hand back the rest; publish what was committed.

        Gives whether every command under way finished.
        """
        stop_by = time.monotonic() + grace_s
        for lane in self._lanes:
            lane.ask_to_stop(stop_by)
        finished = [lane.join() for lane in self._lanes]
        self._housekeeping.stop()
        # What is not confirmed by then stays in the outbox, for the sweep.
        self._sender.stop(_FLUSH_S)
        if self._relay is not None:
            self._relay.stop()
        let_go(self._engine, self._given)
        return all(finished)
