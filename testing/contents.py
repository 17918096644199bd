"""What stands in a service's own tables, to be compared: before and after, in one run and in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Uuid, select
from sqlalchemy.types import Date, DateTime, Time

_OURS: Final = ("amends_", "alembic_version", "django_migrations", "sqlite_")

Contents = Mapping[str, Counter[str]]


class Tables:
    """The tables of one database, without those of amends. Reads all of them, so let test databases be small.

    Left out are columns that differ from run to run by themselves: times, UUIDs, numbers that the database gives, and
    what refers to such; and what is in `ignoring`, as `table` or `table.column`.
    """

    def __init__(self, connection: Connection, ignoring: Collection[str] = ()) -> None:
        metadata = MetaData()
        metadata.reflect(connection, only=lambda name, _: not name.startswith(_OURS) and name not in ignoring)
        volatile = {column for table in metadata.tables.values() for column in table.c if _varies(column)}
        self._columns = {
            name: [
                column
                for column in table.c
                if f"{name}.{column.name}" not in ignoring
                and column not in volatile
                and not any(key.column in volatile for key in column.foreign_keys)
            ]
            for name, table in metadata.tables.items()
        }
        self._tables: Mapping[str, Table] = metadata.tables

    def read(self, connection: Connection) -> Contents:
        """How many rows there are of each kind, by table."""
        found: dict[str, Counter[str]] = {}
        for name, columns in self._columns.items():
            rows = connection.execute(select(*columns) if columns else select(self._tables[name]))
            told = (", ".join(f"{c.name}={v!r}" for c, v in zip(columns, row, strict=False)) for row in rows)
            found[name] = Counter(told)
        return found


def difference(found: Contents, wanted: Contents) -> str:
    """The first table that differs, and how; empty if none does."""
    for name in sorted(wanted):
        more, less = found[name] - wanted[name], wanted[name] - found[name]
        if more or less:
            return f"table {name!r} holds {_rows(more)} instead of {_rows(less)}"
    return ""


def _rows(rows: Counter[str]) -> str:
    told = [
        f"({row or 'a row'})" + (f" x {count}" if count > 1 else "")
        for row, count in sorted(rows.items())[:3]
    ]
    return " and ".join(told) + (" and more" if len(rows) > 3 else "") if told else "nothing"


def _varies(column: Column[Any]) -> bool:
    if isinstance(column.type, DateTime | Date | Time | Uuid):
        return True
    if not (column.primary_key and isinstance(column.type, Integer) and len(column.table.primary_key) == 1):
        return False
    given = column.identity is not None or "nextval" in str(getattr(column.server_default, "arg", ""))
    return given or column.name == "id"
