"""The keeper's thread: stores what the gate decided, refreshes it, admits, probes, prunes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Final

from sqlalchemy import Engine

from amends.coordinator.engine import breakers, placeholders, sql, windows
from amends.coordinator.engine.gate import Gate
from amends.coordinator.engine.intake import AdmitItem, AnyItem, Intake
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.observer import Observer
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable

log = logging.getLogger(__name__)

TICK_S: Final = 0.05
PRUNED_MAX: Final = 500
UNKNOWN_S: Final = 86_400.0  # how long a start that was rejected for its version may come again as the same


class Keeping:
    """Everything that is due now and then, in short transactions of its own."""

    def __init__(
        self,
        database: Engine,
        intake: Intake,
        gate: Gate,
        *,
        observer: Observer,
        settings: EngineSettings,
        refreshed: Callable[[], None],
    ) -> None:
        self._database = database
        self._intake = intake
        self._gate = gate
        self._observer = observer
        self._settings = settings
        self._refreshed = refreshed
        self._admissions = windows.Admissions()
        self._stopping = Event()
        self._refresh_at = 0.0
        self._prune_at = time.monotonic() + settings.prune_every_s

    def run(self) -> None:
        """Keep until `stop`."""
        pause_s = TICK_S
        while not self._stopping.wait(pause_s):
            pause_s = TICK_S
            try:
                self.turn()
            except StoreUnavailable:
                pause_s = self._settings.retry_longest_s
            except Exception:
                # Whatever it was, what it would have kept is still due: try again, and say so.
                log.exception("keeper_failed")
                pause_s = self._settings.retry_longest_s

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    def turn(self) -> None:
        """Do what is due. Raises: StoreUnavailable."""
        self._decisions()
        if time.monotonic() >= self._refresh_at:
            self.refresh()
        self._probe()
        self._admit()
        if time.monotonic() >= self._prune_at:
            self.expire()
            self.prune()

    def _decisions(self) -> None:
        opened, closed = self._gate.take_decisions()
        if not opened and not closed:
            return
        settings = self._settings
        try:
            with transaction(self._database) as connection:
                changed = breakers.store_decisions(
                    connection,
                    opened,
                    closed,
                    failures=settings.breaker_failures,
                    pause_s=settings.probe_first_s,
                )
        except Exception:
            self._gate.put_back(opened, closed)
            raise
        for queue in changed[0]:
            log.warning("breaker_opened", extra={"queue": queue})
            self._observer.breaker(queue, True)
        for queue in changed[1]:
            log.info("breaker_closed", extra={"queue": queue})
            self._observer.breaker(queue, False)

    def refresh(self) -> None:
        """Read windows and breakers from the database. Raises: StoreUnavailable."""
        self._gate.begin_refresh()
        with transaction(self._database) as connection:
            out, parked = windows.counts(connection)
            rows = breakers.load(connection)
        self._gate.refresh(out, parked, rows)
        self._refreshed()
        self._refresh_at = time.monotonic() + self._settings.refresh_s

    def _probe(self) -> None:
        settings = self._settings
        for queue in self._gate.open_queues():
            with transaction(self._database) as connection:
                waiting = breakers.lease_probe(
                    connection, queue, first_s=settings.probe_first_s, longest_s=settings.probe_longest_s
                )
            if waiting is not None:
                log.info("breaker_probe", extra={"queue": queue, "saga_id": waiting[0], "path": waiting[1]})
                self._intake.put([AdmitItem(saga_id=waiting[0], path=waiting[1], probe=True)])

    def _admit(self) -> None:
        for queue in self._gate.parked():
            room = self._gate.room(queue)
            if room == 0 or len(self._intake) > self._settings.batch_events_max:
                continue
            with transaction(self._database) as connection:
                steps = self._admissions.next(connection, queue, min(room, self._settings.batch_events_max))
            items: list[AnyItem] = [AdmitItem(saga_id=saga_id, path=path) for saga_id, path in steps]
            self._intake.put(items)

    def expire(self) -> int:
        """Give up some placeholders that nobody started (S1); how many. Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            expired = placeholders.expire(connection, age_s=self._settings.placeholder_s, rows_max=PRUNED_MAX)
        if expired:
            log.warning("placeholders_expired", extra={"placeholders": expired})
            self._observer.placeholders_expired(expired)
        return expired

    def prune(self) -> int:
        """Delete some ended sagas past their retention; how many (E5). Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            pruned = connection.exec_driver_sql(
                sql.PRUNE, {"retention_s": self._settings.retention_s, "rows_max": PRUNED_MAX}
            ).rowcount
            connection.exec_driver_sql(
                sql.PRUNE_UNKNOWN,
                {"age_s": self._settings.unknown_version_s + UNKNOWN_S, "rows_max": PRUNED_MAX},
            )
        if pruned:
            log.info("sagas_pruned", extra={"sagas": pruned})
        self._prune_at = time.monotonic() + (0.0 if pruned == PRUNED_MAX else self._settings.prune_every_s)
        return pruned
