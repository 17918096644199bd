"""Forgetting the barrier's old rows (B6)."""

from __future__ import annotations

from collections import Counter
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from amends.db.errors import UnsupportedDatabase
from amends.db.mysql import is_mysql
from amends.participants.barrier.sql_mysql import COUNT, HOLD, MYSQL
from amends.participants.barrier.sql_postgresql import POSTGRESQL
from amends.participants.barrier.sql_sqlite import SQLITE

RETENTION_S: Final = 30 * 86_400.0
ROWS_MAX: Final = 1_000


def prune(connection: Connection, retention_s: float = RETENTION_S, *, rows_max: int = ROWS_MAX) -> int:
    """Delete the rows of steps whose youngest row is older than `retention_s` seconds; gives how many rows.

    Rows of one step go together, and a call that never told its outcome is kept. One call deletes the steps of up
    to `rows_max` old rows and does not commit: call it, each time in a transaction of its own, until it gives 0.
    """
    if connection.dialect.name == "postgresql":
        return _prune_postgresql(connection, retention_s, rows_max)
    if connection.dialect.name == "sqlite":
        return _prune_sqlite(connection, retention_s, rows_max)
    if is_mysql(connection.dialect.name):
        return _prune_mysql(connection, retention_s, rows_max)
    raise UnsupportedDatabase(
        f"the barrier knows postgresql, mysql, mariadb and sqlite, not {connection.dialect.name!r}"
    )


def _prune_postgresql(connection: Connection, retention_s: float, rows_max: int) -> int:
    parameters = {"retention_s": retention_s, "rows_max": rows_max}
    held: Counter[tuple[UUID, str]] = Counter(
        (row.saga_id, row.path) for row in connection.exec_driver_sql(POSTGRESQL.prunable, parameters)
    )
    if not held:
        return 0
    return connection.exec_driver_sql(
        POSTGRESQL.prune,
        {
            "retention_s": retention_s,
            "sagas": [str(saga) for saga, _ in held],
            "paths": [path for _, path in held],
            "counts": list(held.values()),
        },
    ).rowcount


def _prune_sqlite(connection: Connection, retention_s: float, rows_max: int) -> int:
    steps = connection.exec_driver_sql(
        SQLITE.prunable, {"retention_s": retention_s, "rows_max": rows_max}
    ).all()
    return sum(
        connection.exec_driver_sql(SQLITE.prune, {"saga": step.saga_id, "path": step.path}).rowcount
        for step in steps
    )


def _prune_mysql(connection: Connection, retention_s: float, rows_max: int) -> int:
    steps = connection.exec_driver_sql(
        MYSQL.prunable, {"retention_s": retention_s, "rows_max": rows_max}
    ).all()
    deleted = 0
    for step in sorted((step.saga_id, step.path) for step in steps):
        at = {"saga": step[0], "path": step[1], "retention_s": retention_s}
        held = connection.exec_driver_sql(HOLD, at).all()
        # Somebody has a row of it, or it grew younger since it was found: another time.
        if (
            not all(may_go for _, may_go in held)
            or len(held) != connection.exec_driver_sql(COUNT, at).scalar()
        ):
            continue
        for op, _ in held:
            deleted += connection.exec_driver_sql(MYSQL.prune, {**at, "op": op}).rowcount
    return deleted
