"""Replays every saga's log through the machine and holds the outcome against what is stored (invariant 10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Final

from sqlalchemy import Connection, Engine

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import sql
from amends.coordinator.engine.journal import decode_event
from amends.coordinator.engine.rows import read_saga, read_step
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.state import Saga, Step
from amends.coordinator.timeline import beginning, replay
from amends.db.engines import transaction

SAGAS_AT_ONCE: Final = 500

IDS = "SELECT id::text FROM amends.saga WHERE status <> 'rejected' ORDER BY id"

# The logs of some sagas, each from its beginning.
LOGS = """
    SELECT saga_id::text, at_ms, event FROM amends.saga_log
    WHERE saga_id = ANY(%(ids)s::uuid[]) ORDER BY saga_id, seq
"""

Log = list[tuple[int, Event]]


def replay_all(database: Engine) -> tuple[str, ...]:
    """What does not agree, a sentence per saga; nothing if all does. Raises: StoreUnavailable."""
    catalog = Catalog(database)
    findings: list[str] = []
    with transaction(database) as connection:
        ids: list[str] = list(connection.exec_driver_sql(IDS).scalars())
        for start in range(0, len(ids), SAGAS_AT_ONCE):
            some = ids[start : start + SAGAS_AT_ONCE]
            logs = read_logs(connection, some)
            for saga in read_sagas(connection, some):
                findings.extend(compare(connection, catalog, saga, logs.get(saga.id, [])))
    return tuple(findings)


def read_sagas(connection: Connection, ids: Sequence[str]) -> list[Saga]:
    """These sagas as they are stored, with their steps."""
    wanted = {"ids": list(ids)}
    steps: dict[str, dict[str, Step]] = {saga_id: {} for saga_id in ids}
    for row in connection.exec_driver_sql(sql.LOAD_STEPS, wanted):
        saga_id, step = read_step(row)
        steps[saga_id][step.path] = step
    headers = [read_saga(row)[0] for row in connection.exec_driver_sql(sql.LOCK_SAGAS, wanted)]
    return [replace(header, steps=steps[header.id]) for header in headers]


def read_logs(connection: Connection, ids: Sequence[str]) -> dict[str, Log]:
    """The logs of these sagas: times and events."""
    logs: dict[str, Log] = {}
    for saga_id, at, entry in connection.exec_driver_sql(LOGS, {"ids": list(ids)}):
        logs.setdefault(saga_id, []).append((at, decode_event(entry)))
    return logs


def compare(connection: Connection, catalog: Catalog, saga: Saga, log: Log) -> Iterator[str]:
    """How the stored saga differs from what its log gives."""
    definition = catalog.find(connection, saga.name, saga.version)
    if definition is None:
        yield f"saga {saga.id} has no definition: {saga.name} version {saga.version}"
        return
    # The trace came with the start and is only carried along.
    replayed = first = replace(beginning(definition, saga), trace=saga.trace)
    for happened in replay(definition, first, log):
        replayed = happened.after or replayed
    for one in fields(Saga):
        was, is_ = getattr(replayed, one.name), getattr(saga, one.name)
        if was != is_:
            yield f"saga {saga.id}: its log gives {one.name} {was!r}, stored is {is_!r}"
