"""Schedules that are fired in a batch: the row's lock, the saga's insert and the next due time are one commit (S4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine.births import Births
from amends.coordinator.engine.contract import Verdict
from amends.coordinator.engine.intake import ScheduleItem, StartItem
from amends.coordinator.engine.lives import Advancing
from amends.coordinator.schedules import sql
from amends.coordinator.schedules.records import start_at

log = logging.getLogger(__name__)

ERROR_CHARS_MAX: Final = 1_000


@dataclass(slots=True)
class Firing:
    """One schedule, locked by this batch, and what became of its instants so far."""

    item: ScheduleItem
    name: str
    saga: str
    starts: list[tuple[int, StartItem]]
    fired: list[tuple[int, str]] = field(default_factory=list)  # instant, saga id
    failed: int = 0
    error: str | None = None
    waits: bool = False


class Firings:
    """The schedules of one batch: `lock`, then `settle` each in its turn, then `write`."""

    def __init__(
        self, connection: Connection, catalog: Catalog, births: Births, advancing: Advancing
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._births = births
        self._advancing = advancing
        self._firings: dict[int, Firing] = {}

    def lock(self, items: list[ScheduleItem]) -> list[StartItem]:
        """Lock those that are due still and that nobody else is at. Returns the starts they make."""
        wanted = {"ids": [item.schedule for item in items], "dues": [item.due_ms for item in items]}
        found = self._connection.exec_driver_sql(sql.LOCK_DUE, wanted).all()
        # By instant too: beside the current one, an older instant of the schedule may have waited here.
        rows = {(row.id, row.due_ms): row for row in found}
        for item in items:
            row = rows.pop((item.schedule, item.due_ms), None)
            if row is not None and self._can(row):
                starts = [] if item.broken else [(due, self._start(row, due)) for due in item.plan.fire]
                self._firings[id(item)] = Firing(item, row.name, row.saga, starts)
        return [start for firing in self._firings.values() for _, start in firing.starts]

    def settle(self, item: ScheduleItem, newer: set[str]) -> None:
        """Learn what became of a schedule's starts. `newer`: sagas that this release cannot read (E3)."""
        firing = self._firings.get(id(item))
        if firing is None:
            return  # Paused, removed, or fired by somebody else.
        if item.broken:
            firing.failed, firing.error = max(1, len(item.plan.fire)), item.broken
        for due, start in firing.starts:
            if start.saga_id in newer:
                continue
            answer = self._births.settle(start)
            match answer.verdict:
                case Verdict.ACCEPTED:
                    firing.fired.append((due, answer.saga_id))
                case Verdict.SUSPENDED:
                    held = answer.reason.rpartition("; nothing was stored")[0] or answer.reason
                    mend = f"it fires by itself after `amends definitions resume {start.start.name}`"
                    firing.waits, firing.error = True, f"{held}; {mend}"
                case Verdict.REJECTED | Verdict.UNKNOWN_DEFINITION:
                    firing.failed, firing.error = firing.failed + 1, answer.reason
                case Verdict.DUPLICATE | Verdict.CONFLICT | Verdict.SPENT:
                    # This instant was fired before: the clock was put back, or the schedule was removed and added
                    # again in between. Its saga exists or existed once, and that is what is promised.
                    log.info("schedule_instant_fired_before", extra={"saga_id": start.saga_id})

    def write(self) -> None:
        """Set when each is due next, and what became of it."""
        if not self._firings:
            return
        columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for firing in self._firings.values():
            if firing.waits:
                # Held, not lost: it stays due, and its policy decides about what has passed by then.
                self._cannot(firing.item.schedule, firing.error)
                continue
            last_ms, last_saga = firing.fired[-1] if firing.fired else (None, None)
            error = firing.error
            columns["id"].append(firing.item.schedule)
            columns["next_ms"].append(firing.item.plan.next_due)
            columns["last_ms"].append(last_ms)
            columns["last_saga"].append(last_saga)
            columns["error"].append(
                error.replace("\x00", "")[:ERROR_CHARS_MAX] if error is not None else None
            )
            columns["fired"].append(len(firing.fired))
            columns["missed"].append(firing.item.plan.missed)
            columns["failed"].append(firing.failed)
            self._advancing.told.append(partial(self._tell, firing))
        if columns["id"]:
            self._connection.exec_driver_sql(sql.FIRED, columns)

    def _can(self, row: Any) -> bool:
        """False for a definition in a newer release's language: the schedule is left to newer coordinators (E3)."""
        if self._catalog.find(self._connection, row.saga, row.version) is not None:
            return True
        if not self._catalog.stands(self._connection, row.saga, row.version):
            return True  # Nobody has it: the start is refused, and the schedule tells.
        error = f"saga {row.saga!r} is in a newer release's language: it waits for a newer coordinator"
        self._cannot(row.id, error)
        return False

    def _cannot(self, schedule: int, error: str | None) -> None:
        self._connection.exec_driver_sql(sql.CANNOT, {"id": schedule, "error": error})

    def _start(self, row: Any, due_ms: int) -> StartItem:
        start = start_at(
            schedule=row.name,
            saga=row.saga,
            version=row.version,
            input_json=row.input,
            labels=row.labels,
            due=datetime.fromtimestamp(due_ms / 1000, UTC),
            now_ms=self._advancing.now_ms,
        )
        return StartItem(saga_id=start.saga, start=start, message_id=str(uuid4()))

    def _tell(self, firing: Firing) -> None:
        """Count and log, once it is committed."""
        observer, name, missed = self._advancing.observer, firing.name, firing.item.plan.missed
        for due_ms, saga_id in firing.fired:
            log.info("schedule_fired", extra={"schedule": name, "due_ms": due_ms, "saga_id": saga_id})
            observer.schedule_fired(name)
        if missed:
            log.warning("schedule_missed", extra={"schedule": name, "runs": missed})
            observer.schedule_missed(name, missed)
        if firing.failed:
            log.warning("schedule_failed", extra={"schedule": name, "error": firing.error})
            observer.schedule_failed(name, firing.failed)


_COLUMNS: Final = ("id", "next_ms", "last_ms", "last_saga", "error", "fired", "missed", "failed")
