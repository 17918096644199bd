"""What a migration that broke off has left behind on MySQL and MariaDB, where each statement commits by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from amends.db.errors import LeftoverRows

if TYPE_CHECKING:
    from alembic.migration import MigrationContext


def drop_leftovers(context: MigrationContext, revision: str, tables: Sequence[str]) -> None:
    """Drop those of the tables that are there, if nothing is in any of them. Nothing offline: there is nobody to ask.

    The revision may have been whole but for its record, and a service have written since. Raises: LeftoverRows.
    """
    connection = context.connection
    if context.as_sql or connection is None:
        return
    filled = drop_if_empty(connection, tables)
    if filled:
        raise LeftoverRows(revision, tables, filled)


def drop_if_empty(connection: Connection, tables: Sequence[str]) -> list[str]:
    """Drop those of the tables that are there, unless one holds rows; gives the names of those that do. It commits."""
    there = set(inspect(connection).get_table_names())
    left = [name for name in tables if name in there]
    if not left:
        return []
    with _held(connection, left):
        filled = [
            name for name in left if connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first()
        ]
        for name in () if filled else left:
            connection.exec_driver_sql(f"DROP TABLE {name}")
    return filled


@contextmanager
def _held(connection: Connection, names: Sequence[str]) -> Iterator[None]:
    """Nobody else writes to them, and whoever did has committed: no row comes between the look and the drop."""
    connection.exec_driver_sql(f"LOCK TABLES {', '.join(f'{name} WRITE' for name in names)}")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("UNLOCK TABLES")
