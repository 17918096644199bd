"""The Django migration operation that makes a participant's tables.

They are made by `amends.participants.django.tables`, not from Django's models: their constraints, partial indexes and
storage parameters are part of what amends relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import NotSupportedError, router
from django.db.migrations.operations.base import Operation

from amends.db.errors import MigrationBusy
from amends.db.schema import SCHEMAS
from amends.participants.django import tables

_STATEMENTS: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "0001": tables.first,
    "0002": tables.second,
}


class CreateTables(Operation):
    """Create a revision's tables where a database is not that far yet; those that are there are left alone.

    It asks the routers, as `allow_migrate(alias, "amends")`. Raises: MigrationBusy if `amends migrate --participant` or
    another of these is under way; NotSupportedError on anything but PostgreSQL and SQLite.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, revision: str) -> None:
        self.revision = revision

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """As Django writes it into a migration."""
        return type(self).__name__, [self.revision], {}

    def describe(self) -> str:
        """For people."""
        return f"Create the tables of amends, revision {self.revision}"

    @property
    def migration_name_fragment(self) -> str:
        """Part of a migration's name."""
        return "amends_tables"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing: the models, which Django does not manage, follow in the migration."""

    def database_forwards(self, app_label: str, schema_editor: Any, _from_state: Any, _to_state: Any) -> None:
        """Create them."""
        if not _allowed(app_label, schema_editor.connection):
            return
        # Where SQL is only written down (`sqlmigrate`), nothing is asked of the database.
        if not schema_editor.collect_sql:
            found = _revision(schema_editor.connection)
            if found is not None and int(found) >= int(self.revision):
                return
        for statement in _STATEMENTS[self.revision](schema_editor.connection.vendor):
            schema_editor.execute(statement, None)

    def database_backwards(
        self, app_label: str, schema_editor: Any, _from_state: Any, _to_state: Any
    ) -> None:
        """Drop them, and what they hold."""
        if not _allowed(app_label, schema_editor.connection):
            return
        if not schema_editor.collect_sql:
            _lock(schema_editor.connection)
        for statement in tables.BACK[self.revision]:
            schema_editor.execute(statement, None)


def _allowed(app_label: str, connection: Any) -> bool:
    """Whether the routers want them there. Raises: NotSupportedError."""
    if not router.allow_migrate(connection.alias, app_label):
        return False
    if connection.vendor not in tables.VENDORS:
        raise NotSupportedError(
            f"amends keeps its tables on PostgreSQL or SQLite, and DATABASES[{connection.alias!r}] is on "
            f"{connection.vendor}; let a router's allow_migrate answer False there for the app 'amends'"
        )
    return True


def _revision(connection: Any) -> str | None:
    """The revision the database is at, held until the transaction ends; None before the first."""
    _lock(connection)
    with connection.cursor() as cursor:
        if tables.VERSION_TABLE not in connection.introspection.table_names(cursor):
            return None
        cursor.execute(f"SELECT version_num FROM {tables.VERSION_TABLE}")
        row = cursor.fetchone()
    return None if row is None else str(row[0])


def _lock(connection: Any) -> None:
    """Keep other migrations out. Asked once: whoever holds the lock may be waiting for this very transaction."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SCHEMAS["participant"].lock])
        (held,) = cursor.fetchone()
    if not held:
        raise MigrationBusy(
            f"another process is migrating the participant schema of DATABASES[{connection.alias!r}]; "
            "see pg_stat_activity for it, then run this again"
        )
