"""What both histories' `env.py` do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect
from sqlalchemy.schema import CreateSchema

from amends.db.mysql import is_mysql
from amends.db.schema import SCHEMAS, Which

if TYPE_CHECKING:
    from types import ModuleType


def run(context: ModuleType, which: Which) -> None:
    """Run the migrations Alembic was asked for.

    On PostgreSQL each is a transaction of its own, so that one may step outside of it (CREATE INDEX CONCURRENTLY).
    On SQLite all are one, which holds the file's write lock from before the current revision is read. On MySQL and
    MariaDB each statement that changes a table commits by itself.
    """
    schema = SCHEMAS[which]
    connection: Connection = context.config.attributes["connection"]
    if schema.version.schema is not None:
        _make_schema(connection, schema.version.schema)
    context.configure(
        connection=connection,
        target_metadata=schema.metadata,
        version_table=schema.version.name,
        version_table_schema=schema.version.schema,
        transactional_ddl=not is_mysql(connection.dialect.name),
        transaction_per_migration=connection.dialect.name != "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def _make_schema(connection: Connection, name: str) -> None:
    # Asked first: CREATE SCHEMA IF NOT EXISTS needs the right to create one even where there is nothing to do.
    if name not in inspect(connection).get_schema_names():
        connection.execute(CreateSchema(name))
    connection.commit()
