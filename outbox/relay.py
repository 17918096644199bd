"""The relay: takes care of one outbox table, alone or beside other relays of the same table (O2)."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.mysql import is_mysql, let_go, own_pool
from amends.outbox.late import LateConfirmHook
from amends.outbox.observer import OutboxObserver, Unobserved
from amends.outbox.ports import Broker, Topology, events_exchange, receipts_queue
from amends.outbox.receipts import Receipts
from amends.outbox.storage import OutboxStats, OwnerRules
from amends.outbox.store import OutboxStore
from amends.outbox.sweep import Sweep, SweepLimits

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How a relay is. `turn_age_s`: seconds since its sweep began its last turn; a living one turns every second.

    `error` says what it waits for; empty when it waits for nothing.
    """

    running: bool
    turn_age_s: float
    broker_up: bool
    database_up: bool
    in_flight: int
    error: str

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What keeps it from relaying, in words; nothing if it works."""
        told = (
            ("the database", self.database_up),
            ("the broker", self.broker_up),
            ("a thread of the relay that is not running", self.running),
        )
        return tuple(what for what, is_well in told if not is_well)


class Relay:
    """Publishes what no living process publishes from memory, and deletes what is receipted.

    With `service` it listens for the receipts of this outbox table; without, messages that need a receipt are sent
    again and again. Any number of relays may share a table. A relay does not survive a fork: start it in the child.
    """

    def __init__(
        self,
        database: Engine,
        broker: Broker,
        *,
        store: OutboxStore,
        prefix: str,
        service: str | None = None,
        label: str = "relay",
        on_late_confirm: LateConfirmHook | None = None,
        observer: OutboxObserver | None = None,
        limits: SweepLimits | None = None,
        rules: OwnerRules | None = None,
    ) -> None:
        self._given = database
        # A claim wants READ COMMITTED; elsewhere that is what there is.
        self._database = database = own_pool(database) if is_mysql(database.dialect.name) else database
        self._store = store
        self._label = label
        told: OutboxObserver = observer or Unobserved()
        # Domain events go there; where it is missing, each would be parked as its own fault (O4).
        broker.declare(Topology(exchanges=frozenset({events_exchange(prefix)})))
        self._sweep = Sweep(
            database,
            broker,
            store,
            limits=limits or SweepLimits(),
            rules=rules or OwnerRules(),
            observer=told,
            receipts_to=receipts_queue(prefix, service) if service else None,
            on_late_confirm=on_late_confirm,
        )
        self._receipts = (
            Receipts(database, broker, store, prefix=prefix, service=service, observer=told)
            if service
            else None
        )
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self.died = False

    def start(self) -> None:
        """Start sweeping, in threads of its own. A database or broker that is away is waited for."""
        if self._threads:
            return
        self._stopped.clear()
        work = [("sweep", self._sweep.run)]
        if self._receipts is not None:
            work.append(("receipts", self._receipts.run))
        for name, run in work:
            thread = threading.Thread(target=run, name=f"amends-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        log.info("relay_started", extra={"label": self._label})

    def stop(self) -> None:
        """Hand back what is not confirmed, write what is, and end."""
        self.ask_to_stop()
        for thread in self._threads:
            thread.join()
        if self._threads:
            log.info("relay_stopped", extra={"label": self._label})
            let_go(self._database, self._given)
        self._threads = []

    def ask_to_stop(self) -> None:
        """Let `run` end, without waiting for it: safe in a signal handler."""
        self._stopped.set()
        self._sweep.stop()
        if self._receipts is not None:
            self._receipts.stop()

    def run(self) -> None:
        """Start, and return once `stop` or `ask_to_stop` was called from elsewhere, or a thread died."""
        self.start()
        while not self._stopped.wait(_LOOK_S) and self.status().running:
            continue
        self.died = not self._stopped.is_set()
        self.stop()

    def status(self) -> RelayStatus:
        """How the relay is, without I/O."""
        sweep = self._sweep
        return RelayStatus(
            running=bool(self._threads) and all(thread.is_alive() for thread in self._threads),
            turn_age_s=time.monotonic() - sweep.turned_at,
            broker_up=sweep.broker_up and (self._receipts is None or self._receipts.broker_up),
            database_up=sweep.database_up,
            in_flight=sweep.in_flight,
            error=sweep.error,
        )

    def stats(self) -> OutboxStats:
        """What stands in the outbox table. Raises: StoreUnavailable, OutboxNotInstalled."""
        with transaction(self._database) as connection:
            return self._store.stats(connection)
