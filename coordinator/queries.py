"""What the doors read: sagas one by one and in pages, their log, definitions. Nothing here writes.

Each function opens one transaction of its own, so what it returns is one moment of the database.
Every function raises StoreUnavailable when the database is away.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from amends.coordinator.errors import UnknownDefinition
from amends.coordinator.records import (
    Child,
    DefinitionRow,
    Detail,
    Header,
    History,
    LogRow,
    OpenBreaker,
    OutboxEntry,
    Position,
    Pruned,
    QueueLoad,
    SagaFilter,
    StateCount,
    StepRow,
    StoredDefinition,
    TimerRow,
)
from amends.coordinator.saga.identity import child_id
from amends.coordinator.saga.state import Phase
from amends.db.engines import transaction
from amends.outbox.wire import saga_id_of

# Two statements see the same moment, and a slip of the pen writes nothing.
ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
LIMIT_TIME = "SET LOCAL statement_timeout = '10s'"

# Of a saga: it is done, and waits for its parent to decide (K2).
HELD = """(saga.status = 'running' AND saga.parent_id IS NOT NULL
    AND coalesce((saga.head->'parent'->>'holds')::boolean, false)
    AND coalesce(saga.head->>'decision', 'none') <> 'settle' AND saga.head->'positions'->>'through' IS NOT NULL)"""

# In the order of `Header`.
_HEADER = f"""id::text, name, version, status, backwards, key, labels, input_hash, started_ms, clock_ms,
    deadline_ms, stuck_steps, error, created_at, ended_at, format, parent_id::text, {HELD}"""

# One saga's header, with its overrides.
HEADER = f"""
    SELECT {_HEADER}, coalesce(head->'overrides', '[]'), input::text, coalesce(head->>'pivot', 'none'),
        head->'parent', coalesce(head->>'decision', 'none'),
        head->'positions'->>'through' IS NOT NULL, coalesce((head->>'finishing')::boolean, false),
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM amends.saga WHERE id = %(id)s::uuid AND status <> 'placeholder'
"""

# The saga that was started under this id, where that has another (S2).
STANDS_FOR = """
    SELECT head->>'stands_for' FROM amends.saga WHERE id = %(id)s::uuid AND status = 'placeholder'
"""

# When an id was pruned (S3), and the hash of the input it had.
PRUNED = "SELECT at, input_hash FROM amends.spent_id WHERE id = %(id)s::uuid"

# A saga's steps, those that are under way first; each with its timer, its command if that is still in the outbox, and
# the breaker of the queue its current op goes to if that is open. In the order of `StepRow` and what it holds.
STEPS = """
    SELECT step.path, step.node, step.queue, step.phase, step.op, step.closes, step.did, step.round,
        step.attempt, step.since_ms, step.due_ms, step.error, step.extra->>'override', step.result::text,
        (extract(epoch FROM timer.due_at) * 1000)::bigint, (extract(epoch FROM timer.sent_at) * 1000)::bigint,
        (extract(epoch FROM timer.held_since) * 1000)::bigint, (extract(epoch FROM timer.leased_until) * 1000)::bigint,
        entry.id, (extract(epoch FROM entry.created_at) * 1000)::bigint,
        (extract(epoch FROM entry.due_at) * 1000)::bigint, entry.attempts, entry.last_error,
        (extract(epoch FROM entry.parked_at) * 1000)::bigint, (extract(epoch FROM entry.returned_since) * 1000)::bigint,
        coalesce(entry.leased_until > now(), false),
        (extract(epoch FROM breaker.opened_at) * 1000)::bigint,
        (extract(epoch FROM breaker.probe_until) * 1000)::bigint,
        coalesce((step.extra->>'child')::int, 0)
    FROM amends.step AS step
    LEFT JOIN amends.timer AS timer ON timer.saga_id = step.saga_id AND timer.path = step.path
    LEFT JOIN amends.outbox AS entry ON entry.id = timer.outbox_id AND entry.sent_at IS NULL AND step.phase = 'awaiting'
    LEFT JOIN amends.breaker AS breaker ON breaker.queue = step.queue AND breaker.state = 'open'
    WHERE step.saga_id = %(id)s::uuid
    ORDER BY {first}step.since_ms, step.path LIMIT %(rows_max)s
"""
AS_BEGUN = STEPS.format(first="")
UNDER_WAY_FIRST = STEPS.format(first="step.phase = 'settled', step.phase <> 'stuck', ")

# How these sagas stand, of those that have a row.
CHILDREN = """
    SELECT id::text, status FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) AND status <> 'placeholder'
"""

# How many commands of some queues are out and parked; walks two partial indexes.
LOADS = """
    SELECT queue, count(*) FILTER (WHERE phase <> 'parked' AND op = 'do'), count(*) FILTER (WHERE phase = 'parked')
    FROM amends.step WHERE queue = ANY(%(queues)s::text[]) AND phase IN ('awaiting', 'backoff', 'parked')
    GROUP BY queue
"""

# How many steps of a saga stand alike, by the place of the definition they are instances of.
STATES = """
    SELECT node, phase, op, closes, did, extra->>'override' IS NOT NULL, count(*), max(attempt) FROM amends.step
    WHERE saga_id = %(id)s::uuid GROUP BY 1, 2, 3, 4, 5, 6
"""

# A saga's log from its beginning.
LOG = """
    SELECT seq, at_ms, event FROM amends.saga_log WHERE saga_id = %(id)s::uuid ORDER BY seq LIMIT %(rows_max)s
"""

# Which of these sagas have ended, or the one that an id stands for.
ENDED = """
    SELECT id::text FROM amends.saga WHERE id = ANY(%(ids)s::uuid[]) AND ended_at IS NOT NULL
    UNION ALL
    SELECT other.id::text FROM amends.saga AS other JOIN amends.saga ON saga.id = (other.head->>'stands_for')::uuid
    WHERE other.id = ANY(%(ids)s::uuid[]) AND other.status = 'placeholder' AND saga.ended_at IS NOT NULL
"""

# One page of sagas, newest first; conditions are added by `_conditions`.
PAGE = """
    SELECT {columns} FROM amends.saga WHERE {conditions}
    ORDER BY created_at DESC, id DESC LIMIT %(rows_max)s
"""

NAMES = "SELECT DISTINCT name FROM amends.definition ORDER BY name"
VERSIONS = "SELECT version FROM amends.definition WHERE name = %(name)s ORDER BY version"

# Definitions with what depends on them. In the order of `DefinitionRow`; conditions and columns are added.
_DEFINITIONS = """
    SELECT definition.name, definition.version, hash, active, registered_at, registered_by,
        coalesce(live.sagas, 0), suspension.since, suspension.suspended_by, suspension.reason{more}
    FROM amends.definition
    LEFT JOIN (
        SELECT name, version, count(*) AS sagas FROM amends.saga WHERE ended_at IS NULL{of_name}
        GROUP BY name, version
    ) AS live ON live.name = definition.name AND live.version = definition.version
    LEFT JOIN amends.suspension ON suspension.name = definition.name AND suspension.resumed_at IS NULL
    {where}
"""

# Every version.
DEFINITIONS = _DEFINITIONS.format(more="", of_name="", where="ORDER BY definition.name, definition.version")

# One version of a definition, or the active one, with its stored form.
DEFINITION = _DEFINITIONS.format(
    more=", body",
    of_name=" AND name = %(name)s",
    where="WHERE definition.name = %(name)s"
    " AND (definition.version = %(version)s OR (%(version)s::int IS NULL AND active))",
)


@contextmanager
def reading(database: Engine) -> Iterator[Connection]:
    """One transaction that sees one moment and writes nothing. Raises: StoreUnavailable."""
    with transaction(database) as connection:
        connection.exec_driver_sql(ONE_MOMENT)
        connection.exec_driver_sql(LIMIT_TIME)
        yield connection


def find_saga(database: Engine, saga_id: UUID, *, steps_max: int) -> Detail | Pruned | None:
    """One saga with up to `steps_max` of its steps; what is left of it if it was pruned; None if unknown."""
    with reading(database) as connection:
        return _find(connection, saga_id, steps_max)


def find_waiting(
    database: Engine, saga_id: UUID, *, steps_max: int
) -> tuple[Detail, dict[str, QueueLoad]] | Pruned | None:
    """One saga with up to `steps_max` of its steps, those under way first, and how full their windows are."""
    with reading(database) as connection:
        found = _find(connection, saga_id, steps_max, UNDER_WAY_FIRST)
        if not isinstance(found, Detail):
            return found
        queues = sorted({step.queue for step in found.steps if step.phase == Phase.PARKED})
        rows = connection.exec_driver_sql(LOADS, {"queues": queues}).all() if queues else []
        return found, {queue: QueueLoad(out, parked) for queue, out, parked in rows}


def find_states(database: Engine, saga_id: UUID) -> tuple[Header, list[StateCount]] | Pruned | None:
    """A saga's header, and how many of its steps stand how."""
    with reading(database) as connection:
        found = _find(connection, saga_id, 0)
        if not isinstance(found, Detail):
            return found
        rows = connection.exec_driver_sql(STATES, {"id": found.header.id}).all()
        return found.header, [StateCount(*row) for row in rows]


def history(database: Engine, saga_id: UUID, *, rows_max: int) -> History | Pruned | None:
    """A saga with up to `rows_max` of its steps and as many of its log's entries."""
    with reading(database) as connection:
        found = _find(connection, saga_id, rows_max)
        if not isinstance(found, Detail):
            return found
        wanted = {"id": found.header.id, "rows_max": rows_max}
        log = [LogRow(*row) for row in connection.exec_driver_sql(LOG, wanted).all()]
        return History(found, log)


def ended_among(database: Engine, ids: Collection[str]) -> set[str]:
    """Which of these sagas have ended."""
    with transaction(database) as connection:
        return set(connection.exec_driver_sql(ENDED, {"ids": list(ids)}).scalars())


def page_of_sagas(
    database: Engine, wanted: SagaFilter, after: Position | None, rows_max: int
) -> list[Header]:
    """Up to `rows_max` sagas, newest first, that began before position `after`."""
    with reading(database) as connection:
        ids: list[str] | None = None
        if wanted.key is not None:
            # Keys have no index: an id follows from name and key, so every name's id is looked up.
            names = [wanted.name] if wanted.name else connection.exec_driver_sql(NAMES).scalars().all()
            ids = [saga_id_of(name, wanted.key) for name in names]
        conditions, values = _conditions(wanted, after, ids)
        sql = PAGE.format(columns=_HEADER, conditions=" AND ".join(conditions))
        rows = connection.exec_driver_sql(sql, {**values, "rows_max": rows_max}).all()
        return [Header(*row) for row in rows]


def definitions(database: Engine) -> list[DefinitionRow]:
    """Every version, by name and version."""
    with reading(database) as connection:
        return [DefinitionRow(*row) for row in connection.exec_driver_sql(DEFINITIONS).all()]


def find_definition(database: Engine, name: str, version: int | None) -> StoredDefinition:
    """One version, or the active one. Raises: UnknownDefinition, telling which are known."""
    with reading(database) as connection:
        wanted = {"name": name, "version": version}
        row = connection.exec_driver_sql(DEFINITION, wanted).first()
        if row is not None:
            *columns, body = row
            return StoredDefinition(DefinitionRow(*columns), body)
        versions: list[int] = list(connection.exec_driver_sql(VERSIONS, wanted).scalars())
        if versions and version is not None:
            raise UnknownDefinition(name, version, versions)
        raise UnknownDefinition(name, None, connection.exec_driver_sql(NAMES).scalars())


def _find(
    connection: Connection, saga_id: UUID, steps_max: int, steps_sql: str = AS_BEGUN
) -> Detail | Pruned | None:
    wanted = {"id": str(saga_id), "rows_max": steps_max}
    row = connection.exec_driver_sql(HEADER, wanted).first()
    if row is None:
        other = connection.exec_driver_sql(STANDS_FOR, wanted).scalar()
        if other is not None:
            return _find(connection, UUID(other), steps_max, steps_sql)
        gone = connection.exec_driver_sql(PRUNED, wanted).first()
        return Pruned(*gone) if gone is not None else None
    steps = _steps(connection, str(saga_id), connection.exec_driver_sql(steps_sql, wanted).all())
    *header, overrides, input_text, pivot, parent, decision, through, finishing, now_ms = row
    return Detail(
        Header(*header), overrides, input_text, pivot, parent, decision, through, finishing, now_ms, steps
    )


def _steps(connection: Connection, saga_id: str, rows: Sequence[Sequence[Any]]) -> list[StepRow]:
    """The steps; those that nobody is commanded for and that are not settled with the child they may have called."""
    ids = {
        row[0]: child_id(saga_id, row[0], row[28])
        for row in rows
        if not row[2] and row[3] in (Phase.WAITING, Phase.STUCK)
    }
    found = connection.exec_driver_sql(CHILDREN, {"ids": list(ids.values())}).all() if ids else []
    children = {id_: Child(id_, status) for id_, status in found}
    return [_step(row, children.get(ids.get(row[0], ""))) for row in rows]


def _step(row: Sequence[Any], child: Child | None) -> StepRow:
    timer, entry, breaker = row[14:18], row[18:26], row[26:28]
    beside: list[Any] = [
        TimerRow(*timer) if timer[0] is not None else None,
        OutboxEntry(*entry) if entry[0] is not None else None,
        OpenBreaker(*breaker) if breaker[0] is not None else None,
        child,
    ]
    return StepRow(*row[:14], *beside)


def _moment(name: str, value: datetime | timedelta) -> str:
    return f"now() - %({name})s" if isinstance(value, timedelta) else f"%({name})s"


def _conditions(
    wanted: SagaFilter, after: Position | None, ids: list[str] | None
) -> tuple[list[str], dict[str, object]]:
    """The conditions of a page, each with its own placeholders."""
    conditions = ["status <> 'placeholder'"]
    values: dict[str, object] = {}

    def narrow(condition: str, **named: object) -> None:
        conditions.append(condition)
        values.update(named)

    if wanted.statuses:
        narrow("status = ANY(%(statuses)s::text[])", statuses=list(wanted.statuses))
    if wanted.name is not None:
        narrow("name = %(name)s", name=wanted.name)
    if ids is not None:
        narrow("id = ANY(%(ids)s::uuid[]) AND key = %(key)s", ids=ids, key=wanted.key)
    if wanted.labels:
        narrow("labels @> %(labels)s::jsonb", labels=json.dumps(dict(wanted.labels)))
    if wanted.parent is not None:
        narrow("parent_id = %(parent)s::uuid", parent=wanted.parent)
    if wanted.before is not None:
        narrow(f"created_at < {_moment('before', wanted.before)}", before=wanted.before)
    if wanted.after is not None:
        narrow(f"created_at > {_moment('since', wanted.after)}", since=wanted.after)
    if after is not None:
        narrow(
            "(created_at, id) < (%(at)s::timestamptz, %(at_id)s::uuid)",
            at=after.created_at,
            at_id=after.id,
        )
    return conditions, values
