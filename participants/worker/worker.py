"""The worker of one participant, embedded or as a program."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine

from amends.db.errors import StoreUnavailable
from amends.outbox.broker import MEMORY_SCHEME, open_broker
from amends.outbox.metrics import OutboxGauges
from amends.outbox.observer import OutboxObserver, Unobserved
from amends.outbox.ports import Broker
from amends.participants.events.lanes import threads_of
from amends.participants.logging import fields_on_every_record
from amends.participants.metrics import ParticipantMetrics, metrics_in, outbox_metrics_in
from amends.participants.scraping.metrics import gone, port_of, served
from amends.participants.worker.databases import engine_for, require_ready
from amends.participants.worker.fitting import fit
from amends.participants.worker.parts import Parts
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from amends.outbox.sealing import Seal
    from amends.participants.participant import Participant

log = logging.getLogger(__name__)

_PARENT_CHECK_S: Final = 1.0
EXIT_UNFINISHED: Final = 1
EXIT_OVERDUE: Final = 70


class Worker:
    """Takes a participant's commands from the broker. Makes no connection before `start` or `run`.

    Embedded: `start()` and `stop()`. As a program: `run()`, which handles SIGTERM and SIGINT and, with `processes`
    above 1, works in that many child processes.
    """

    def __init__(
        self,
        participant: Participant,
        *,
        database: Engine | str,
        broker: Broker | str,
        prefix: str,
        service: str,
        settings: WorkerSettings,
        metrics: ParticipantMetrics | None = None,
        outbox_observer: OutboxObserver | None = None,
        metrics_port: int | None = None,
        seal: Seal | None = None,
    ) -> None:
        """`metrics_port` is where `run` serves metrics; with several processes, the first one's: the others follow.

        Raises: UnsupportedDatabase, UnsupportedBroker; ValueError for several processes on an in-process broker, and
        for handlers whose limits this worker cannot keep.
        """
        self.participant = participant
        self.prefix = prefix
        self.settings = settings
        self._service = service
        self._metrics = metrics
        self._outbox_observer = outbox_observer
        self._metrics_port = metrics_port
        self._own_engine = not isinstance(database, Engine)
        self._fit = fit(participant, settings)
        self._engine = engine_for(
            database,
            settings,
            participant.name,
            self._fit.longest_s,
            event_threads=threads_of(participant) + participant.answers.threads,
        )
        self._broker = (
            open_broker(broker, name=f"amends {participant.name}", seal=seal)
            if isinstance(broker, str)
            else broker
        )
        if settings.processes > 1 and isinstance(broker, str) and broker.startswith(f"{MEMORY_SCHEME}://"):
            raise ValueError(
                "several processes need a broker outside of them: a memory:// broker is in each its own"
            )
        self._parts: Parts | None = None
        self._stop_asked = threading.Event()
        self._overdue = False

    @property
    def name(self) -> str:
        """Whose commands it takes."""
        return self.participant.name

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What keeps it from working, in words; nothing if it works. Without I/O."""
        parts = self._parts
        return ("to be started",) if parts is None else parts.waits_for

    def start(self) -> None:
        """Begin to work, in threads. A database or broker that is away is waited for.

        Raises: SchemaOutdated, naming the command that mends it; UnsupportedDatabase.
        """
        if self._parts is not None:
            return
        parts = Parts(
            self.participant,
            self._engine,
            self._broker,
            self.prefix,
            self._service,
            self.settings,
            self._metrics or metrics_in(),
            self._outbox_observer or Unobserved(),
            self._on_overdue,
            self._fit,
        )
        try:
            require_ready(self._engine)
        except StoreUnavailable as error:
            parts.gate.shut(error)
        except Exception:
            self._release()
            raise
        parts.start()
        self._parts = parts
        log.info("worker_started", extra={"participant": self.participant.name, "prefix": self.prefix})

    def stop(self, grace_s: float | None = None) -> bool:
        """Finish the commands under way, for at most `grace_s` (by default the settings'), hand back the rest.

        Gives whether every one of them finished. Closes the engine if it was given as a URL.
        """
        parts, self._parts = self._parts, None
        if parts is None:
            return True
        finished = parts.stop(self.settings.grace_s if grace_s is None else grace_s)
        self._release()
        log.info("worker_stopped", extra={"participant": self.participant.name, "finished": finished})
        return finished

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; gives the exit status. In the main thread.

        Raises: SchemaOutdated, naming the command that mends it; OSError if the metrics port is taken.
        """
        if self.settings.processes == 1:
            return self._run_here(0)
        try:
            require_ready(self._engine)
        except StoreUnavailable as error:
            log.warning("database_away", extra={"error": str(error)})
        finally:
            # Nothing that is connected may be shared with the children.
            self._engine.dispose()
        return Supervisor(
            self.settings.processes, self._run_child, grace_s=self.settings.grace_s, on_death=gone
        ).run()

    def _run_child(self, number: int) -> int:
        # Connections that were opened before the fork belong to the parent.
        self._engine.dispose(close=False)
        return self._run_here(number, parent=os.getppid())

    def _run_here(self, number: int, parent: int | None = None) -> int:
        previous = {name: signal.signal(name, self._on_signal) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            with fields_on_every_record(), ExitStack() as running:
                if self._metrics_port is not None:
                    self._outbox_observer = self._outbox_observer or outbox_metrics_in()
                self.start()
                running.callback(self.stop)
                port = port_of(self._metrics_port, number)
                if port is not None:
                    running.enter_context(served(port, self._outbox_gauges(), self._standing))
                return self._until_told(parent)
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)

    def _until_told(self, parent: int | None) -> int:
        while not self._stop_asked.wait(_PARENT_CHECK_S):
            if parent is not None and os.getppid() != parent:
                log.warning("supervisor_gone")
                break
            if parent is not None and self._overdue:
                log.error("worker_replaced", extra={"why": "a handler ran over its time limit"})
                self.stop(grace_s=0)
                return EXIT_OVERDUE
        return 0 if self.stop() else EXIT_UNFINISHED

    def _outbox_gauges(self) -> OutboxGauges:
        parts = self._parts
        assert parts is not None, "started before"
        return OutboxGauges(
            parts.outbox_stats, broker_up=lambda: parts.broker_up, database_up=lambda: parts.gate.is_open
        )

    def _standing(self) -> Mapping[str, bool]:
        """What it needs to obey commands, and whether it is there."""
        parts = self._parts
        if parts is None:
            return {"database": False, "broker": False}
        return {"database": parts.gate.is_open, "broker": parts.broker_up}

    def _release(self) -> None:
        """Close the engine that was given as a URL; a start after that connects anew."""
        if self._own_engine:
            self._engine.dispose()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked.set()

    def _on_overdue(self) -> None:
        (self._metrics or metrics_in()).overdue(self.participant.name)
        self._overdue = True
