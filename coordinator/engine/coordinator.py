"""A running coordinator: every thread of it, wired in one place.

consuming  --\\                       /--> sender (publishes what was committed)
ticking    ----> intake --> decider --
scheduling --/                       \\--> acknowledgements
keeping    -/
doors      /                                       relay (sweeps what nobody published)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Final

from sqlalchemy import Engine

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import sql
from amends.coordinator.engine.consuming import Consuming
from amends.coordinator.engine.contract import ActAnswer, EngineStatus, SignalAnswer, StartAnswer
from amends.coordinator.engine.deciding import Acknowledging, Decider
from amends.coordinator.engine.gate import Gate
from amends.coordinator.engine.intake import ActItem, DoorItem, Intake, SignalItem, StartItem
from amends.coordinator.engine.keeping import Keeping
from amends.coordinator.engine.kin import OWN_SERVICE
from amends.coordinator.engine.scheduling import Scheduling
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.signalling import signal_of
from amends.coordinator.engine.ticking import Ticking
from amends.coordinator.observer import NULL_OBSERVER, Observer
from amends.coordinator.saga.events import Act
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable
from amends.db.tables import coordinator as tables
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.message import OutboxRow, new_message_id
from amends.outbox.observer import OutboxObserver
from amends.outbox.ports import (
    Broker,
    QueueState,
    Topology,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
    events_exchange,
    receipts_queue,
)
from amends.outbox.relay import Relay
from amends.outbox.sender import Sender, SenderLimits
from amends.outbox.store import OutboxStore
from amends.outbox.sweep import SweepLimits

log = logging.getLogger(__name__)

STOP_S: Final = 10.0


class Coordinator:
    """One coordinator process's engine. Any number of them may share a database (E3)."""

    def __init__(
        self,
        database: Engine,
        broker: Broker,
        *,
        prefix: str = "amends",
        settings: EngineSettings | None = None,
        observer: Observer = NULL_OBSERVER,
        outbox_observer: OutboxObserver | None = None,
    ) -> None:
        settings = settings or EngineSettings()
        self._database = database
        self._broker = broker
        self._prefix = prefix
        self._declared: frozenset[str] = frozenset()
        self.catalog = Catalog(database)
        self._intake = Intake()
        self._gate = Gate(window=settings.window, breaker_failures=settings.breaker_failures)
        store = OutboxStore(tables.outbox, tables.owner)
        self._sender = Sender(
            broker,
            store,
            database,
            label=f"coordinator {prefix}",
            crash_scope="coordinator",
            observer=outbox_observer,
            on_late_confirm=self._postpone,
            receipts_to=receipts_queue(prefix, OWN_SERVICE),
            limits=SenderLimits(confirm_s=settings.confirm_s),
        )
        self._consuming = Consuming(broker, self._intake, prefix=prefix, settings=settings)
        self._ticking = Ticking(database, self._intake, settings=settings)
        self._scheduling = Scheduling(database, self._intake, settings=settings)
        self._keeping = Keeping(
            database, self._intake, self._gate, observer=observer, settings=settings, refreshed=self._declare
        )
        self._decider = Decider(
            database=database,
            catalog=self.catalog,
            intake=self._intake,
            gate=self._gate,
            store=store,
            sender=self._sender,
            acknowledging=Acknowledging(done=self._consuming.done, later=self._consuming.later),
            observer=observer,
            prefix=prefix,
            settings=settings,
            before_offer=self._declare_told,
        )
        self._relay = Relay(
            database,
            broker,
            store=store,
            prefix=prefix,
            service=OWN_SERVICE,
            label=f"coordinator {prefix}",
            observer=outbox_observer,
            on_late_confirm=self._postpone,
            limits=SweepLimits(confirm_s=settings.confirm_s),
        )
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def start(self) -> None:
        """Start every thread. Raises: StoreUnavailable if the database is away."""
        self._broker.declare(
            Topology(
                queues=frozenset({coordinator_queue(self._prefix), dead_letter_queue(self._prefix)}),
                exchanges=frozenset({events_exchange(self._prefix)}),
            )
        )
        self._keeping.refresh()
        with transaction(self._database) as connection:
            self._declare_queues(connection.exec_driver_sql(sql.TOLD_QUEUES).scalars())
        self._sender.start()
        self._relay.start()
        loops: list[tuple[str, Callable[[], None]]] = [
            ("decider", self._decider.run),
            ("ticking", self._ticking.run),
            ("scheduling", self._scheduling.run),
            ("keeping", self._keeping.run),
            ("consuming", self._consuming.run),
        ]
        for name, run in loops:
            thread = threading.Thread(target=run, name=f"amends-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish the batch under way, publish what was committed, leave the rest to the others."""
        self._stopped = True
        self._consuming.stop()
        self._ticking.stop()
        self._scheduling.stop()
        self._keeping.stop()
        self._decider.stop()
        for thread in self._threads:
            thread.join(STOP_S)
        for item in self._intake.take_all():
            if isinstance(item, DoorItem):
                _turn_away(item)
        self._sender.stop(STOP_S)
        self._relay.stop()
        self._consuming.close()
        self._threads.clear()

    def submit_start(self, start: wire.Start, *, actor: str, trace: str = "") -> Future[StartAnswer]:
        """Start a saga in the next batch. Raises: MalformedMessage if the id does not follow from name and key."""
        if start.key is not None and start.saga != wire.saga_id_of(start.name, start.key):
            raise MalformedMessage(f"saga {start.saga} is not the id that its name and key give")
        answer: Future[StartAnswer] = Future()
        item = StartItem(
            saga_id=start.saga,
            start=start,
            actor=actor,
            trace=trace,
            answer=answer,
            message_id=new_message_id(),
        )
        self._put(item)
        return answer

    def submit_act(
        self, saga_id: str, act: Act, *, in_ms: int | None = None, dry: bool = False
    ) -> Future[ActAnswer]:
        """Apply an operator's act in the next batch, or tell whether it fits (`dry`).

        With `in_ms` its time is so many ms from the saga's now.
        """
        answer: Future[ActAnswer] = Future()
        self._put(ActItem(saga_id=saga_id, act=act, in_ms=in_ms, answer=answer, dry=dry))
        return answer

    def submit_signal(
        self, saga_id: str, name: str, payload: bytes, *, message_id: str
    ) -> Future[SignalAnswer]:
        """Give a saga a signal in the next batch. Raises: MalformedMessage for what cannot be one."""
        answer: Future[SignalAnswer] = Future()
        event = signal_of(name, message_id, payload)
        self._put(
            SignalItem(saga_id=saga_id, event=event, answer=answer, message_id=message_id, body=payload)
        )
        return answer

    def _put(self, item: DoorItem) -> None:
        if not self._decider.database_up:
            # The decider tries until it is back; a door is told at once, and may ask another coordinator.
            if item.answer is not None:
                item.answer.set_exception(StoreUnavailable("the database is away"))
            return
        self._intake.put([item])
        if self._stopped:
            # Nobody decides any more. Asked after the put: else an item could slip in behind the last look.
            _turn_away(item)

    def status(self) -> EngineStatus:
        """How the coordinator is, without I/O."""
        return EngineStatus(
            running=bool(self._threads) and all(thread.is_alive() for thread in self._threads),
            loop_age_s=time.monotonic() - self._decider.turned_at,
            database_up=self._decider.database_up,
            broker_up=self._consuming.broker_up,
        )

    @property
    def broker_in_process(self) -> bool:
        """Whether the broker confirms a command only when its participant has dealt with it."""
        return self._broker.confirms_when_consumed

    def look(self, queues: Collection[str], *, timeout_s: float) -> dict[str, QueueState | None]:
        """How these command queues stand at the broker. Raises: BrokerUnavailable."""
        found = self._broker.look([f"{self._prefix}.{queue}" for queue in queues], timeout_s=timeout_s)
        return {queue: found[f"{self._prefix}.{queue}"] for queue in queues}

    def _declare(self) -> None:
        """Declare the queues of every participant, so that commands can wait for one that is not up yet."""
        participants = self.catalog.participants()
        if participants == self._declared:
            return
        queues = {
            command_queue(self._prefix, participant, undo=undo)
            for participant in participants
            for undo in (False, True)
        }
        self._broker.declare(Topology(queues=frozenset(queues)))
        self._declared = participants

    def _declare_told(self, rows: Sequence[OutboxRow]) -> None:
        """Declare the queues of those who are told of ended sagas: what waits there must not depend on who is up."""
        if any(row.message.type == wire.FINISHED for row in rows):
            self._declare_queues(row.message.routing_key for row in rows if row.message.type == wire.FINISHED)

    def _declare_queues(self, queues: Iterable[str]) -> None:
        self._broker.declare(Topology(queues=frozenset(queues)))

    def _postpone(self, late: list[tuple[OutboxRow, float]]) -> None:
        """Commands that were confirmed late: their timeouts run from the confirm (M4)."""
        commands = []
        for row, _ in late:
            if row.message.type == wire.COMMAND:
                body = wire.decode(wire.COMMAND, row.message.body)
                if isinstance(body, wire.Command):
                    commands.append((body.saga, body.path, body.attempt))
        if not commands:
            return
        columns = dict(
            zip(("saga_id", "path", "attempt"), map(list, zip(*commands, strict=True)), strict=True)
        )
        try:
            with transaction(self._database) as connection:
                connection.exec_driver_sql(sql.POSTPONE_TIMERS, columns)
        except StoreUnavailable:
            # The timers fire early then, and count: one attempt of many.
            log.warning("timeouts_not_postponed", extra={"commands": len(commands)})


def _turn_away(item: DoorItem) -> None:
    """Tell a door that waits for this item that it will not be decided here."""
    if item.answer is None:
        return
    with suppress(InvalidStateError):  # It was answered, or its door has gone.
        item.answer.set_exception(CancelledError("the coordinator is stopping; ask another"))
