"""Reading and writing lock rows within an open transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from amends.db.errors import UnsupportedDatabase
from amends.db.tables.participant import lock as table
from amends.participants.locks.rule import Claimant

# Waiting places that lapsed so long ago are swept: an hour is enough to come back to one's own.
LAPSED_MS: Final = 3_600_000

# Not UNIX_TIMESTAMP: it reads the session's local time, of which an hour comes twice in autumn.
_MYSQL_NOW_MS: Final[ColumnElement[int]] = literal_column(
    "CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000 AS SIGNED)"
)

# The database's clock, ms since 1970.
_NOW_MS: Final[Mapping[str, ColumnElement[int]]] = {
    "postgresql": literal_column("(extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
    "sqlite": literal_column("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
    "mysql": _MYSQL_NOW_MS,
    "mariadb": _MYSQL_NOW_MS,
}


def _on_postgresql(connection: Connection, values: dict[str, Any]) -> bool:
    insert = postgresql.insert(table).values(values).on_conflict_do_nothing()
    # The number of rows is not told of every INSERT; what it returns is.
    return connection.execute(insert.returning(table.c.name)).first() is not None


def _on_sqlite(connection: Connection, values: dict[str, Any]) -> bool:
    insert = sqlite.insert(table).values(values).on_conflict_do_nothing()
    return connection.execute(insert.returning(table.c.name)).first() is not None


def _on_mysql(connection: Connection, values: dict[str, Any]) -> bool:
    insert = mysql.insert(table).values(values).prefix_with("IGNORE")
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount == 1


# Inserts a row, unless one of its key stands; waits for another transaction that is about to insert it.
_INSERT: Final[Mapping[str, Callable[[Connection, dict[str, Any]], bool]]] = {
    "postgresql": _on_postgresql,
    "sqlite": _on_sqlite,
    "mysql": _on_mysql,
    "mariadb": _on_mysql,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A saga that has a lock, or waits for it; `at_ms` is since when."""

    claimant: Claimant
    saga_name: str
    path: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How one lock stands: who has it, and who waits, in the order in which they came; lapsed places are left out."""

    holder: Place | None
    waiting: Sequence[Place]

    def ahead_of(self, saga: UUID) -> list[Place]:
        """Those that wait since before this saga did; all of them, if it does not wait yet."""
        ahead = []
        for place in self.waiting:
            if place.claimant.saga == saga:
                break
            ahead.append(place)
        return ahead


class LockStore:
    """The table `amends_lock` of one database. No method commits."""

    def __init__(self, dialect: str) -> None:
        """Raises: UnsupportedDatabase for a dialect whose SQL is not here."""
        if dialect not in _INSERT:
            raise UnsupportedDatabase(
                f"locks are kept on {' and '.join(sorted(_INSERT))}, not on {dialect!r}"
            )
        self._insert = _INSERT[dialect]
        self._now_ms = _NOW_MS[dialect]

    def standing(self, connection: Connection, name: str) -> Standing:
        """How this lock stands."""
        alive = or_(table.c.waits_until_ms.is_(None), table.c.waits_until_ms > self._now_ms)
        asked = select(table).where(table.c.name == name, alive).order_by(table.c.at_ms, table.c.slot)
        places = [
            (row.slot, Place(Claimant(row.saga_id, row.started_ms), row.saga_name, row.path, row.at_ms))
            for row in connection.execute(asked)
        ]
        holder = next((place for slot, place in places if slot == ""), None)
        return Standing(holder, [place for slot, place in places if slot != ""])

    def take(self, connection: Connection, name: str, who: Claimant, saga_name: str, path: str) -> bool:
        """Take a free lock, and leave the queue for it; False if somebody else was faster.

        Waits for a transaction that is about to take it, up to its lock timeout.
        """
        values = self._values(name, who, saga_name, path)
        taken = self._insert(connection, {**values, "slot": "", "waits_until_ms": None})
        if taken:
            connection.execute(delete(table).where(table.c.name == name, table.c.slot == who.saga.hex))
        return taken

    def wait(
        self, connection: Connection, name: str, who: Claimant, saga_name: str, path: str, lease_ms: int
    ) -> None:
        """Queue up, or stay in the queue, for `lease_ms`. A place that lapsed is still as old as it was."""
        until = self._now_ms + lease_ms
        slot = who.saga.hex
        values = {**self._values(name, who, saga_name, path), "slot": slot, "waits_until_ms": until}
        if not self._insert(connection, values):
            stay = update(table).where(table.c.name == name, table.c.slot == slot)
            connection.execute(stay.values(waits_until_ms=until))

    def holds(self, connection: Connection, saga: UUID) -> bool:
        """Whether this saga has any lock here."""
        asked = select(table.c.name).where(table.c.saga_id == saga, table.c.slot == "").limit(1)
        return connection.execute(asked).first() is not None

    def let_go(self, connection: Connection, saga: UUID) -> int:
        """Release every lock of this saga, and leave every queue; gives how many rows that were."""
        return connection.execute(delete(table).where(table.c.saga_id == saga)).rowcount

    def sweep(self, connection: Connection) -> int:
        """Forget places that lapsed long ago; gives how many."""
        return connection.execute(
            delete(table).where(table.c.waits_until_ms < self._now_ms - LAPSED_MS)
        ).rowcount

    def all(self, connection: Connection, rows_max: int) -> list[dict[str, Any]]:
        """Holders and those who wait, by name, holders first."""
        age_s = (self._now_ms - table.c.at_ms) / 1000.0
        lapsed = func.coalesce(table.c.waits_until_ms <= self._now_ms, False).label("lapsed")
        asked = (
            select(table, age_s.label("age_s"), lapsed)
            .order_by(table.c.name, table.c.slot != "", table.c.at_ms, table.c.slot)
            .limit(rows_max)
        )
        return [dict(row._mapping) for row in connection.execute(asked)]

    def _values(self, name: str, who: Claimant, saga_name: str, path: str) -> dict[str, Any]:
        return {
            "name": name,
            "saga_id": who.saga,
            "saga_name": saga_name[:120],
            "path": path,
            "started_ms": who.started_ms,
            "at_ms": self._now_ms,
        }
