"""The timer thread: claims what is due and puts it into the intake (E3)."""

from __future__ import annotations

import logging
from threading import Event
from uuid import uuid4

from sqlalchemy import Engine

from amends.coordinator.engine import sql
from amends.coordinator.engine.intake import AnyItem, Intake, TimerItem
from amends.coordinator.engine.settings import EngineSettings
from amends.db.crashpoints import crash_point
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable
from amends.db.pipelines import glance
from amends.db.trips import Statement

log = logging.getLogger(__name__)


class Ticking:
    """Polls for due timers; a full claim is followed by the next at once, unless the decider lags behind."""

    def __init__(self, database: Engine, intake: Intake, *, settings: EngineSettings) -> None:
        self._database = database
        self._intake = intake
        self._settings = settings
        self._stopping = Event()

    def run(self) -> None:
        """Claim until `stop`."""
        pause_s = self._settings.timer_poll_s
        while not self._stopping.wait(pause_s):
            pause_s = self._settings.timer_poll_s
            if len(self._intake) > 2 * self._settings.timers_max:
                continue
            try:
                claimed = self.claim()
            except StoreUnavailable:
                # The decider says that the database is away; here it is enough to wait.
                pause_s = self._settings.retry_longest_s
                continue
            except Exception:
                # Whatever it was, timers must not wait for a thread that is gone.
                log.exception("timers_not_claimed")
                pause_s = self._settings.retry_longest_s
                continue
            if claimed:
                crash_point("coordinator.timer.claimed")
                self._intake.put(claimed)
            if len(claimed) == self._settings.timers_max:
                pause_s = 0.0

    def claim(self) -> list[AnyItem]:
        """Lease the due timers to a fresh token. Raises: StoreUnavailable."""
        if not glance(self._database, Statement(sql.LOOK_AT_TIMERS, {})):
            return []
        token = uuid4()
        settings = self._settings
        with transaction(self._database) as connection:
            rows = connection.exec_driver_sql(
                sql.CLAIM_TIMERS,
                {"token": token, "lease_s": settings.timer_lease_s, "rows_max": settings.timers_max},
            ).all()
        return [TimerItem(saga_id=str(saga_id), path=path, token=token) for saga_id, path in rows]

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()
