"""The scheduling thread: finds the schedules that are due and plans what the decider then does (S4).

It claims nothing. Every coordinator may hand the same instant to its decider; the row's lock and its due time, checked
again in the transaction that starts the saga, let one of them fire it.
"""

from __future__ import annotations

import logging
import time
from threading import Event
from typing import Any, Final

from sqlalchemy import Engine

from amends.coordinator.engine.intake import AnyItem, Intake, ScheduleItem
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.schedules import sql
from amends.coordinator.schedules.cron import Cron
from amends.coordinator.schedules.missed import Missed, plan
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable

log = logging.getLogger(__name__)

DUE_MAX: Final = 200
# An instant that was handed over and is due still is handed over again: its item was dropped with a COMMIT of unknown
# outcome, or it is for a coordinator that knows more than this one.
AGAIN_S: Final = 2.0


class Scheduling:
    """Polls for due schedules. What one of them makes impossible does not hold up the others."""

    def __init__(self, database: Engine, intake: Intake, *, settings: EngineSettings) -> None:
        self._database = database
        self._intake = intake
        self._settings = settings
        self._handed_over: dict[tuple[int, int], float] = {}  # schedule and instant -> when
        self._stopping = Event()

    def run(self) -> None:
        """Look until `stop`."""
        pause_s = self._settings.schedule_poll_s
        while not self._stopping.wait(pause_s):
            pause_s = self._settings.schedule_poll_s
            if len(self._intake) > 2 * self._settings.batch_events_max:
                continue
            try:
                self.turn()
            except StoreUnavailable:
                # The decider says that the database is away; here it is enough to wait.
                pause_s = self._settings.retry_longest_s
            except Exception:
                # Whatever it was, schedules must not wait for a thread that is gone.
                log.exception("schedules_not_looked_at")
                pause_s = self._settings.retry_longest_s

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    def turn(self) -> None:
        """Hand over what is due. Raises: StoreUnavailable."""
        self._forget()
        known = list(self._handed_over)
        wanted = {"ids": [one[0] for one in known], "dues": [one[1] for one in known], "rows_max": DUE_MAX}
        with transaction(self._database) as connection:
            rows = connection.exec_driver_sql(sql.DUE, wanted).all()
        items: list[AnyItem] = []
        for row in rows:
            self._handed_over[row.id, row.due_ms] = time.monotonic()
            item = self._planned(row)
            if item is not None:
                items.append(item)
        if items:
            self._intake.put(items)

    def _planned(self, row: Any) -> ScheduleItem | None:
        late_ms = round(self._settings.schedule_late_s * 1000)
        try:
            planned = plan(Cron(row.cron, row.timezone), Missed(row.missed), row.due_ms, row.now_ms, late_ms)
        except Exception as error:
            # A time zone that this machine does not know, most likely: the others are planned all the same.
            log.exception("schedule_not_planned", extra={"schedule": row.name})
            with transaction(self._database) as connection:
                why = {"id": row.id, "error": f"cannot be planned: {error}"}
                connection.exec_driver_sql(sql.CANNOT, why)
            return None
        return ScheduleItem(
            saga_id="",
            type="schedule",
            body=row.name.encode(),
            schedule=row.id,
            due_ms=row.due_ms,
            plan=planned,
        )

    def _forget(self) -> None:
        long_ago = time.monotonic() - AGAIN_S
        self._handed_over = {one: at for one, at in self._handed_over.items() if at > long_ago}
