"""What was done to sagas, definitions, schedules and the outbox, and by whom: written down, and read by the page.

What was done to a saga its batch writes down, with everything else: engine/batch.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from amends.coordinator.queries import reading
from amends.coordinator.saga.json import Json

NOTE = """
    INSERT INTO amends.audit (actor, act, reason, details)
    VALUES (%(actor)s, %(act)s, %(reason)s, %(details)s::json)
"""

# One page of the audit, the last first; conditions are added by `_conditions`. In the order of `AuditRow`. Each filter
# has an index that ends with the order.
PAGE = """
    SELECT id, at, actor, act, saga_id::text, path, reason, details FROM amends.audit WHERE {conditions}
    ORDER BY at DESC, id DESC LIMIT %(rows_max)s
"""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act. `saga_id` and `path` are None where it was not one saga or step it was done to."""

    id: int
    at: datetime
    actor: str
    act: str
    saga_id: str | None
    path: str | None
    reason: str
    details: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which acts to list; what is None does not narrow."""

    saga_id: str | None = None
    actor: str | None = None
    act: str | None = None
    since: datetime | timedelta | None = None


@dataclass(frozen=True, slots=True)
class AuditPosition:
    """Where a page ended; the next one begins after it."""

    at: datetime
    id: int


def note(connection: Connection, act: str, *, actor: str, reason: str, details: Mapping[str, Json]) -> None:
    """Write down who did what to something other than a saga, and why, in the transaction that does it."""
    row = {"actor": actor, "act": act, "reason": reason, "details": json.dumps(details)}
    connection.exec_driver_sql(NOTE, row)


def page_of_audit(
    database: Engine, wanted: AuditFilter, after: AuditPosition | None, rows_max: int
) -> list[AuditRow]:
    """Up to `rows_max` acts, the last first. Raises: StoreUnavailable."""
    conditions, values = _conditions(wanted, after)
    with reading(database) as connection:
        sql = PAGE.format(conditions=" AND ".join(conditions) or "true")
        rows = connection.exec_driver_sql(sql, {**values, "rows_max": rows_max}).all()
        return [AuditRow(*row) for row in rows]


def _conditions(wanted: AuditFilter, after: AuditPosition | None) -> tuple[list[str], dict[str, Any]]:
    # How long ago is counted from the database's now: a door's clock may be another.
    ago = "at >= now() - %(since)s" if isinstance(wanted.since, timedelta) else "at >= %(since)s"
    asked = {
        "saga_id = %(saga_id)s::uuid": ("saga_id", wanted.saga_id),
        "actor = %(actor)s": ("actor", wanted.actor),
        "act = %(act)s": ("act", wanted.act),
        ago: ("since", wanted.since),
    }
    conditions = [condition for condition, (_, value) in asked.items() if value is not None]
    values: dict[str, Any] = {name: value for name, value in asked.values() if value is not None}
    if after is not None:
        conditions.append("(at, id) < (%(after_at)s::timestamptz, %(after_id)s)")
        values.update(after_at=after.at, after_id=after.id)
    return conditions, values
