"""What the engine's statements do to timers and schedules; see `statements.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from amends.coordinator.engine import sql
from amends.coordinator.schedules import sql as schedules
from amends.coordinator.simulating.tables import Had, Tables, TimerRow

Values = Mapping[str, Any]


def _pairs(values: Values) -> Iterator[tuple[str, str]]:
    return zip(values["saga_id"], values["path"], strict=True)


def _arm(tables: Tables, values: Values) -> Sequence[Any]:
    columns = (values[name] for name in ("attempt", "queue", "due_ms", "timeout_ms", "outbox_id"))
    for key, (attempt, queue, due, timeout, outbox_id) in zip(
        _pairs(values), zip(*columns, strict=True), strict=True
    ):
        row = TimerRow(attempt, queue, due, timeout, tables.now(), outbox_id)
        tables.journal.put(tables.timers, key, row)
    return ()


def _disarm(tables: Tables, values: Values) -> Sequence[Any]:
    for key in _pairs(values):
        tables.journal.drop(tables.timers, key)
    return ()


def _disarm_sagas(tables: Tables, values: Values) -> Sequence[Any]:
    ids = set(values["ids"])
    for key in [key for key in tables.timers if key[0] in ids]:
        tables.journal.drop(tables.timers, key)
    return ()


def _claim(tables: Tables, values: Values) -> Sequence[Any]:
    now = tables.now()
    due = [
        (timer.due_ms, key)
        for key, timer in tables.timers.items()
        if timer.due_ms <= now and (timer.leased_until is None or timer.leased_until < now)
    ]
    claimed = [key for _, key in sorted(due)[: values["rows_max"]]]
    until = now + round(values["lease_s"] * 1000)
    for key in claimed:
        row = tables.timers[key]._replace(token=values["token"], leased_until=until)
        tables.journal.put(tables.timers, key, row)
    return claimed


def _held(tables: Tables, values: Values) -> Sequence[Any]:
    found = []
    for (saga_id, path), token in zip(_pairs(values), values["token"], strict=True):
        row = tables.timers.get((saga_id, path))
        if row is None or row.token != token:
            continue
        message = tables.outbox.rows.get(row.outbox_id) if row.outbox_id is not None else None
        unsent = message is not None and message.sent is None
        tables.had.append(Had((saga_id, path), row.due_ms, tables.now(), unsent))
        seen = (row.attempt, row.queue, row.timeout_ms, row.due_ms, row.sent_ms, row.held_since, unsent)
        found.append((saga_id, path, *seen))
    return found


def _hold(tables: Tables, values: Values) -> Sequence[Any]:
    for key, due in zip(_pairs(values), values["due_ms"], strict=True):
        row = tables.timers.get(key)
        if row is not None:
            since = row.due_ms if row.held_since is None else row.held_since
            row = row._replace(due_ms=due, token=None, leased_until=None, held_since=since)
            tables.journal.put(tables.timers, key, row)
    return ()


def _move(tables: Tables, values: Values) -> Sequence[Any]:
    for key, due in zip(_pairs(values), values["due_ms"], strict=True):
        row = tables.timers.get(key)
        if row is not None:
            row = row._replace(due_ms=due, held_since=None, token=None, leased_until=None)
            tables.journal.put(tables.timers, key, row)
    return ()


def _postpone(tables: Tables, values: Values) -> Sequence[Any]:
    for key, attempt in zip(_pairs(values), values["attempt"], strict=True):
        row = tables.timers.get(key)
        if row is not None and row.attempt == attempt and row.token is None:
            due = max(row.due_ms, tables.now() + row.timeout_ms)
            tables.journal.put(tables.timers, key, row._replace(due_ms=due))
    return ()


def _release(tables: Tables, values: Values) -> Sequence[Any]:
    for key, row in list(tables.timers.items()):
        if row.queue == values["queue"] and row.held_since is not None and row.token is None:
            tables.journal.put(tables.timers, key, row._replace(due_ms=tables.now()))
    return ()


# Schedules (S4)


class _Due(NamedTuple):
    id: int
    name: str
    cron: str
    timezone: str
    missed: str
    due_ms: int
    now_ms: int


class _Locked(NamedTuple):
    id: int
    due_ms: int
    name: str
    saga: str
    version: int | None
    input: str
    labels: dict[str, str]


def _due(tables: Tables, values: Values) -> Sequence[Any]:
    now = tables.now()
    known = set(zip(values["ids"], values["dues"], strict=True))
    return [
        _Due(row.id, row.name, row.cron, "UTC", row.missed, row.next_ms, now)
        for row in tables.schedules.values()
        if not row.paused and row.next_ms <= now and (row.id, row.next_ms) not in known
    ]


def _lock_due(tables: Tables, values: Values) -> Sequence[Any]:
    found = []
    for id_, due in sorted(set(zip(values["ids"], values["dues"], strict=True))):
        row = tables.schedules.get(id_)
        if row is not None and row.next_ms == due and not row.paused:
            found.append(_Locked(row.id, due, row.name, row.saga, None, "null", {}))
    return found


def _fired(tables: Tables, values: Values) -> Sequence[Any]:
    columns = (values[name] for name in ("id", "next_ms", "fired", "missed", "failed"))
    for id_, next_ms, fired, missed, failed in zip(*columns, strict=True):
        row = tables.schedules[id_]
        row = row._replace(
            next_ms=next_ms,
            fired=row.fired + fired,
            missed_runs=row.missed_runs + missed,
            failed_runs=row.failed_runs + failed,
        )
        tables.journal.put(tables.schedules, id_, row)
    return ()


def _cannot(_: Tables, __: Values) -> Sequence[Any]:
    return ()


STATEMENTS: Final[dict[str, Callable[[Tables, Values], Sequence[Any]]]] = {
    sql.ARM_TIMERS: _arm,
    sql.DISARM_TIMERS: _disarm,
    sql.DISARM_SAGAS: _disarm_sagas,
    sql.CLAIM_TIMERS: _claim,
    sql.HELD_TIMERS: _held,
    sql.HOLD_TIMERS: _hold,
    sql.MOVE_TIMERS: _move,
    sql.POSTPONE_TIMERS: _postpone,
    sql.RELEASE_TIMERS: _release,
    schedules.DUE: _due,
    schedules.LOCK_DUE: _lock_due,
    schedules.FIRED: _fired,
    schedules.CANNOT: _cannot,
}
