"""Which version new sagas of a name take, and whether they begin at all. Running sagas are pinned and not touched.

Every change is audited, in the transaction that makes it; what changes nothing is not. Coordinators look when a start
comes, so an answer given here holds for every start but those in the batches under way at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Engine

from amends.coordinator.auditing import note
from amends.coordinator.errors import UnknownDefinition
from amends.coordinator.saga.json import Json
from amends.db.arrays import Plain
from amends.db.engines import transaction

# Changes of one name come one after another, so that the partial unique index never meets two active versions.
LOCK_NAME = "SELECT pg_advisory_xact_lock(hashtextextended('amends.definition.' || %(name)s, 0))"

VERSIONS_OF = "SELECT version, active FROM amends.definition WHERE name = %(name)s ORDER BY version"
ALL_NAMES = "SELECT DISTINCT name FROM amends.definition ORDER BY name"
DEACTIVATE = (
    "UPDATE amends.definition SET active = false WHERE name = %(name)s AND active AND version <> %(version)s"
)
ACTIVATE = """
    UPDATE amends.definition SET active = true WHERE name = %(name)s AND version = %(version)s AND NOT active
"""

SUSPEND = """
    INSERT INTO amends.suspension AS standing (name, since, suspended_by, reason)
    VALUES (%(name)s, clock_timestamp(), %(actor)s, %(reason)s)
    ON CONFLICT (name) DO UPDATE SET since = excluded.since, suspended_by = excluded.suspended_by,
        reason = excluded.reason, resumed_at = NULL
    WHERE standing.resumed_at IS NOT NULL
"""
# The row stays: the hour that a start of an unknown version has runs anew from here (S2). Its own clock, not the
# transaction's: that may have begun before the suspension it ends.
RESUME = """
    UPDATE amends.suspension SET resumed_at = clock_timestamp() WHERE name = %(name)s AND resumed_at IS NULL
"""
SUSPENSION = """
    SELECT since, suspended_by, reason FROM amends.suspension WHERE name = %(name)s AND resumed_at IS NULL
"""

# How the names of one batch's starts stand, in one look.
STANDINGS = """
    SELECT wanted.name, active.version, suspension.since, suspension.suspended_by, suspension.reason,
        (extract(epoch FROM suspension.resumed_at) * 1000)::bigint
    FROM unnest(%(names)s::text[]) AS wanted (name)
    LEFT JOIN amends.definition AS active ON active.name = wanted.name AND active.active
    LEFT JOIN amends.suspension AS suspension ON suspension.name = wanted.name
"""


@dataclass(frozen=True, slots=True)
class Suspension:
    """Starts of this name wait: since when, by whom, why."""

    since: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a name stands now: the version new sagas take, and whether starts wait.

    `resumed_ms` is when its last suspension ended, in ms since 1970.
    """

    active: int | None = None
    suspension: Suspension | None = None
    resumed_ms: int = 0


UNHEARD_OF: Final = Standing()


@dataclass(frozen=True, slots=True)
class Activated:
    """`before` is the version that new sagas took until then; None if there was none."""

    name: str
    version: int
    before: int | None


@dataclass(frozen=True, slots=True)
class Switched:
    """A name was suspended or resumed; `changed` is False when it was so already."""

    name: str
    changed: bool
    suspension: Suspension | None


def ask_standings(connection: Connection, names: Iterable[str]) -> CursorResult[*tuple[Any, ...]]:
    """Ask how each of these names stands, in this moment of the database; `standings` reads the answer."""
    return connection.exec_driver_sql(STANDINGS, {"names": Plain(sorted(names))})


def standings(rows: Iterable[Sequence[Any]]) -> dict[str, Standing]:
    """What `ask_standings` was answered."""
    return {
        name: Standing(
            active,
            Suspension(since, actor, reason) if since is not None and resumed_ms is None else None,
            resumed_ms or 0,
        )
        for name, active, since, actor, reason, resumed_ms in rows
    }


def activate(
    database: Engine,
    name: str,
    version: int,
    *,
    actor: str,
    reason: str,
    check: Callable[[Connection, str, int], None] | None = None,
) -> Activated:
    """Let new sagas of this name take this version, newer or older than the one they take now.

    `check` may refuse it, in the same transaction. Raises: what it raises; UnknownDefinition, StoreUnavailable.
    """
    # One transaction: the version that was active ends, the other begins, the audit says so.
    with transaction(database) as connection:
        known = _lock(connection, name)
        if version not in known:
            raise UnknownDefinition(name, version, known)
        if check is not None:
            check(connection, name, version)
        before = next((one for one, active in known.items() if active), None)
        make_active(connection, name, version)
        if before != version:
            details: dict[str, Json] = {"name": name, "version": version, "before": before}
            note(connection, "definition activate", actor=actor, reason=reason, details=details)
        return Activated(name, version, before)


def suspend(database: Engine, name: str, *, actor: str, reason: str) -> Switched:
    """Let starts of this name wait until it is resumed, in whichever version.

    Raises: UnknownDefinition, StoreUnavailable.
    """
    return _switch(database, SUSPEND, "suspend", name, actor, reason)


def resume(database: Engine, name: str, *, actor: str, reason: str) -> Switched:
    """Let starts of this name begin again. Raises: UnknownDefinition, StoreUnavailable."""
    return _switch(database, RESUME, "resume", name, actor, reason)


def make_active(connection: Connection, name: str, version: int) -> bool:
    """Make a version that stands the active one, under LOCK_NAME; False if it was. Not audited."""
    wanted = {"name": name, "version": version}
    connection.exec_driver_sql(DEACTIVATE, wanted)
    return connection.exec_driver_sql(ACTIVATE, wanted).rowcount == 1


def _switch(database: Engine, statement: str, act: str, name: str, actor: str, reason: str) -> Switched:
    # One transaction: the switch and its audit.
    with transaction(database) as connection:
        _lock(connection, name)
        changed = (
            connection.exec_driver_sql(statement, {"name": name, "actor": actor, "reason": reason}).rowcount
            == 1
        )
        if changed:
            note(connection, f"definition {act}", actor=actor, reason=reason, details={"name": name})
        row = connection.exec_driver_sql(SUSPENSION, {"name": name}).first()
        return Switched(name, changed, Suspension(*row) if row is not None else None)


def _lock(connection: Connection, name: str) -> dict[int, bool]:
    """Keep other changes of this name out until the transaction ends; its versions, and which is active."""
    connection.exec_driver_sql(LOCK_NAME, {"name": name})
    rows = connection.exec_driver_sql(VERSIONS_OF, {"name": name}).all()
    known = {row.version: row.active for row in rows}
    if not known:
        raise UnknownDefinition(name, None, connection.exec_driver_sql(ALL_NAMES).scalars())
    return known
