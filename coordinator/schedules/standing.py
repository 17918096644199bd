"""Schedules that stand: added, looked at, paused, resumed, removed. Firing them is the engine's.

Each function is one transaction. All raise StoreUnavailable when the database is away; those that act on one
schedule UnknownSchedule.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine

from amends.coordinator.auditing import note
from amends.coordinator.catalog import Catalog
from amends.coordinator.engine.intake import StartItem
from amends.coordinator.engine.sql import NOW_MS
from amends.coordinator.engine.starts import Refusal, Starts, names_of
from amends.coordinator.errors import InvalidSchedule, ScheduleStands, UnknownSchedule
from amends.coordinator.rollout import ask_standings
from amends.coordinator.saga.json import canonical
from amends.coordinator.schedules import sql
from amends.coordinator.schedules.cron import Cron
from amends.coordinator.schedules.missed import Missed
from amends.coordinator.schedules.records import LABELS_TAKEN, Schedule, Wanted, start_at
from amends.db.engines import transaction

SCHEDULES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Unstartable:
    """The saga that a schedule would start could not start: what a start would be told now."""

    refusal: Refusal


def add(
    database: Engine, catalog: Catalog, wanted: Wanted, *, actor: str, reason: str = ""
) -> bool | Unstartable:
    """Add a schedule, due for the first time after now. False: the same stands already.

    What it would start is examined as a start is. Raises: InvalidSchedule, ScheduleStands.
    """
    cron = Cron(wanted.cron, wanted.timezone)
    for label in LABELS_TAKEN:
        if label in wanted.labels:
            raise InvalidSchedule("labels", f"{label!r} is the schedule's own: every saga it starts has it")
    with transaction(database) as connection:
        standing = connection.exec_driver_sql(sql.FIND, {"name": wanted.name}).first()
        if standing is not None:
            # Also where its saga could not start just now: adding the same again changes nothing.
            _same_or_raise(_read(standing), wanted)
            return False
        now_ms = connection.exec_driver_sql(NOW_MS).scalar_one()
        next_ms = cron.next(now_ms)
        refusal = _refusal(connection, catalog, wanted, next_ms, now_ms)
        if refusal is not None:
            return Unstartable(refusal)
        row = {
            **asdict(wanted),
            "input": canonical(wanted.input),
            "labels": json.dumps(dict(wanted.labels)),
            "missed": wanted.missed.value,
            "actor": actor,
            "next_ms": next_ms,
        }
        if connection.exec_driver_sql(sql.INSERT, row).first() is None:
            _same_or_raise(_found(connection, sql.FIND_LOCKED, wanted.name), wanted)
            return False
        if connection.exec_driver_sql(sql.COUNT).scalar_one() > SCHEDULES_MAX:
            raise InvalidSchedule(
                "name", f"there are {SCHEDULES_MAX:,} schedules already, which is the limit"
            )
        details = {name: value for name, value in row.items() if name not in ("input", "actor", "next_ms")}
        note(
            connection,
            "schedule_add",
            actor=actor,
            reason=reason,
            details={**details, "labels": dict(wanted.labels)},
        )
    return True


def every(database: Engine) -> list[Schedule]:
    """All of them, by name."""
    with transaction(database) as connection:
        return [_read(row) for row in connection.exec_driver_sql(sql.ALL).all()]


def find(database: Engine, name: str) -> Schedule:
    """One schedule."""
    with transaction(database) as connection:
        return _found(connection, sql.FIND, name)


def pause(database: Engine, name: str, *, actor: str, reason: str) -> tuple[Schedule, bool]:
    """Let it fire no more; False if it was so.

    Waits for a firing under way; after it, nothing is fired until `resume`.
    """

    def change(connection: Connection, standing: Schedule) -> bool:
        if standing.paused_at is not None:
            return False
        connection.exec_driver_sql(sql.PAUSE, {"name": name})
        return True

    return _changed(database, name, change, act="schedule_pause", actor=actor, reason=reason)


def resume(database: Engine, name: str, *, actor: str, reason: str) -> tuple[Schedule, bool]:
    """Let it fire again (False if it did).

    It fires from the next instant after now: what passed while it was paused is not missed.
    """

    def change(connection: Connection, standing: Schedule) -> bool:
        if standing.paused_at is None:
            return False
        now_ms = connection.exec_driver_sql(NOW_MS).scalar_one()
        next_ms = Cron(standing.cron, standing.timezone).next(now_ms)
        connection.exec_driver_sql(sql.RESUME, {"name": name, "next_ms": next_ms})
        return True

    return _changed(database, name, change, act="schedule_resume", actor=actor, reason=reason)


def remove(database: Engine, name: str, *, actor: str, reason: str) -> Schedule:
    """Remove it; returns it as it was. The sagas it started go on."""
    with transaction(database) as connection:
        standing = _found(connection, sql.FIND_LOCKED, name)
        connection.exec_driver_sql(sql.REMOVE, {"name": name})
        note(connection, "schedule_remove", actor=actor, reason=reason, details={"name": name})
        return standing


def upcoming(schedule: Schedule, count: int) -> list[datetime]:
    """The next instants at which it is due, the first being `next_due`. Empty while it is paused."""
    if schedule.paused_at is not None:
        return []
    instants = [schedule.next_due]
    for instant_ms in Cron(schedule.cron, schedule.timezone).after(_ms(schedule.next_due)):
        if len(instants) == count:
            break
        instants.append(datetime.fromtimestamp(instant_ms / 1000, UTC))
    return instants


def _refusal(
    connection: Connection, catalog: Catalog, wanted: Wanted, next_ms: int, now_ms: int
) -> Refusal | None:
    """Why a saga that this schedule starts at its first instant could not start; None if it could."""
    start = start_at(
        schedule=wanted.name,
        saga=wanted.saga,
        version=wanted.version,
        input_json=canonical(wanted.input),
        labels=wanted.labels,
        due=datetime.fromtimestamp(next_ms / 1000, UTC),
        now_ms=now_ms,
    )
    # No start of ours is late: an unknown version is told at once.
    starts = Starts(catalog, unknown_version_s=1.0, again_s=1.0)
    item = StartItem(saga_id=start.saga, start=start)
    starts.look(ask_standings(connection, names_of([item])).all())
    examined = starts.examine(connection, item, now_ms)
    return examined if isinstance(examined, Refusal) else None


def _same_or_raise(standing: Schedule, wanted: Wanted) -> None:
    same = (
        standing.cron.split() == wanted.cron.split()
        and (standing.timezone, standing.saga, standing.version, standing.missed)
        == (wanted.timezone, wanted.saga, wanted.version, wanted.missed)
        and dict(standing.labels) == dict(wanted.labels)
        and canonical(standing.input) == canonical(wanted.input)
    )
    if not same:
        raise ScheduleStands(wanted.name)


def _changed(
    database: Engine,
    name: str,
    change: Callable[[Connection, Schedule], bool],
    *,
    act: str,
    actor: str,
    reason: str,
) -> tuple[Schedule, bool]:
    with transaction(database) as connection:
        changed = change(connection, _found(connection, sql.FIND_LOCKED, name))
        note(connection, act, actor=actor, reason=reason, details={"name": name})
        return _found(connection, sql.FIND, name), changed


def _found(connection: Connection, statement: str, name: str) -> Schedule:
    row = connection.exec_driver_sql(statement, {"name": name}).first()
    if row is None:
        raise UnknownSchedule(name)
    return _read(row)


def _read(row: Any) -> Schedule:
    fields = dict(row._mapping)
    return Schedule(
        **{**fields, "input": msgspec.json.decode(fields["input"]), "missed": Missed(fields["missed"])}
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
