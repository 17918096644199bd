"""The engine a worker works on: opened from a URL, or the service's own, if the barrier can rely on it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from amends.db import mysql
from amends.db.engines import open_engine, transaction
from amends.db.errors import UnsupportedDatabase
from amends.db.schema import require_schema
from amends.participants.worker.settings import WorkerSettings

# Beside a connection per thread: the sender, its heartbeat, the relay's two, the housekeeping.
_OWN_CONNECTIONS: Final = 5


def engine_for(
    database: Engine | str, settings: WorkerSettings, name: str, longest_s: float, *, event_threads: int = 0
) -> Engine:
    """`longest_s` is how long a handler may take. No I/O. Raises: UnsupportedDatabase."""
    if isinstance(database, Engine):
        if database.dialect.name not in ("postgresql", "sqlite", *mysql.NAMES):
            raise UnsupportedDatabase(
                f"participants work on PostgreSQL, MySQL, MariaDB and SQLite, not on {database.dialect.name}"
            )
        return database
    if hasattr(database, "sync_engine"):
        raise UnsupportedDatabase("a worker needs a plain engine, not an async one: give it the URL")
    return open_engine(
        database,
        pool_max=settings.threads + settings.undo_threads + event_threads + _OWN_CONNECTIONS,
        # An idle transaction is cut off after twice this: not before its handler's own limit.
        statement_timeout_s=max(30.0, longest_s),
        label=f"amends {name}",
    )


def own_engine(engine: Engine) -> Engine:
    """An engine whose options and listeners are the worker's own, at READ COMMITTED where that can be chosen.

    It is on the same pool, but on MySQL and MariaDB, where it has one of its own unless amends opened the engine.
    """
    if mysql.is_mysql(engine.dialect.name):
        return mysql.own_pool(engine).execution_options()
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="READ COMMITTED")
    return engine.execution_options()


def require_ready(engine: Engine) -> None:
    """Return if the database has the tables and its transactions are such as the barrier needs.

    Raises: SchemaOutdated, naming the command; UnsupportedDatabase; StoreUnavailable.
    """
    require_schema(engine, "participant")
    if mysql.is_mysql(engine.dialect.name):
        mysql.require_skip_locked(engine)
    if engine.dialect.name == "sqlite":
        with transaction(engine) as connection:
            connection.begin()
            if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                # A lock taken only at the first write comes too late: two commands would both have read before.
                raise UnsupportedDatabase(
                    "this SQLite engine begins its transactions too late for the barrier; "
                    "open it with amends.db.engines.open_engine, or give the worker the URL"
                )
