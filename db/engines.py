"""Engines and transactions: the one way amends reaches a database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from amends.db import mysql
from amends.db.errors import CommitUnknown, MissingExtra, StoreUnavailable, UnsupportedDatabase

CONNECT_S: Final = 5
_SQLITE_BUSY_S: Final = 15.0

# What PostgreSQL says when it is the server that is in trouble, not the statement: connection lost (08), out of
# resources (53), shutting down or starting (57P), broken files (58), demoted to a standby (25006), and cut off for
# idling in a transaction (25P03).
_AWAY: Final = ("08", "53", "57P", "58", "25006", "25P03")
_SQLITE_AWAY: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)


def open_engine(
    url: str | URL,
    *,
    pool_max: int = 10,
    statement_timeout_s: float = 30.0,
    lock_timeout_s: float = 10.0,
    pool_wait_s: float = 30.0,
    label: str = "amends",
) -> Engine:
    """An engine for PostgreSQL, MySQL or MariaDB, or a SQLite file. It does not connect yet.

    PostgreSQL: READ COMMITTED, at most `pool_max` connections, `label` as the application name; a statement, a wait
    for a lock and an idle transaction have limits (0: none), unless the URL brings `options` of its own.
    MySQL, MariaDB: READ COMMITTED, at most `pool_max` connections, and such limits as they have.
    SQLite: write-ahead log, transactions that take the write lock at their begin, foreign keys enforced.
    Raises: UnsupportedDatabase for another URL, MissingExtra without its driver.
    """
    target = database_url(url)
    if target.get_backend_name() == "sqlite":
        return _sqlite(target)
    if mysql.is_mysql(target.get_backend_name()):
        return mysql.open_mysql(
            target,
            pool_max=pool_max,
            statement_timeout_s=statement_timeout_s,
            lock_timeout_s=lock_timeout_s,
            pool_wait_s=pool_wait_s,
            connect_s=CONNECT_S,
        )
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "application_name": label,
        "client_encoding": "utf8",
        # A server that vanished without a word is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    if "options" not in target.query:
        limits = {
            "statement_timeout": statement_timeout_s,
            "lock_timeout": lock_timeout_s,
            "idle_in_transaction_session_timeout": 2 * statement_timeout_s,
        }
        arguments["options"] = " ".join(f"-c {name}={int(value * 1000)}" for name, value in limits.items())
    try:
        engine = create_engine(
            target,
            isolation_level="READ COMMITTED",
            # Errors end up in logs, and parameters are payloads.
            hide_parameters=True,
            pool_size=pool_max,
            max_overflow=0,
            pool_timeout=pool_wait_s,
            pool_use_lifo=True,
            connect_args={name: value for name, value in arguments.items() if name not in target.query},
        )
    except ModuleNotFoundError as error:
        raise MissingExtra("PostgreSQL", "postgresql") from error
    # psycopg is known to be there only now.
    from amends.db import array_dumpers

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        array_dumpers.install(dbapi_connection)

    return engine


def database_url(url: str | URL) -> URL:
    """The URL with the driver amends uses. Raises: UnsupportedDatabase, saying what a URL may be."""
    try:
        target = make_url(url)
    except ArgumentError:
        raise UnsupportedDatabase("it is no URL") from None
    if target.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return target.set(drivername="postgresql+psycopg")
    if target.drivername in ("sqlite", "sqlite+pysqlite"):
        return target
    if target.drivername in (*mysql.NAMES, *(f"{name}+pymysql" for name in mysql.NAMES)):
        return target.set(drivername=f"{target.get_backend_name()}+pymysql")
    raise UnsupportedDatabase(f"amends does not speak to {target.drivername!r}")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction on a connection of its own: committed at the end, rolled back on any exception.

    Raises: StoreUnavailable if the database cannot be reached or breaks off before the COMMIT: nothing happened.
    CommitUnknown if it breaks off during the COMMIT. Every other error, a lock timeout or a deadlock too, passes
    through unchanged.
    """
    with connected(engine) as connection:
        with undone(connection):
            yield connection
        try:
            connection.commit()
        except DBAPIError as error:
            give_up(connection, error)
            if is_away(error):
                known = _sqlite_code(error) in (
                    sqlite3.SQLITE_BUSY,
                    sqlite3.SQLITE_LOCKED,
                    sqlite3.SQLITE_FULL,
                )
                raise (StoreUnavailable if known else CommitUnknown)(description(engine, error)) from error
            raise


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Roll back if the block fails. Raises: StoreUnavailable if the database broke off; else what the block raised."""
    try:
        yield
    except BaseException as error:
        give_up(connection, error)
        if isinstance(error, DBAPIError) and is_away(error):
            raise StoreUnavailable(description(connection.engine, error)) from error
        raise


def is_away(error: DBAPIError) -> bool:
    """Whether it is the database that is in trouble, or the way to it, rather than the statement."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in _SQLITE_AWAY
    if mysql.code(error.orig) is not None:
        return mysql.is_away(error)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_AWAY)
    return isinstance(error, OperationalError | InterfaceError)


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection from the pool until the block ends. Raises: StoreUnavailable."""
    try:
        connection = engine.connect()
    except PoolExhausted as error:
        raise StoreUnavailable(f"no database connection came free: {error}") from error
    except DBAPIError as error:
        if is_away(error) or _refused_at_the_door(error):
            raise StoreUnavailable(description(engine, error)) from error
        raise
    try:
        yield connection
    finally:
        connection.close()


def _refused_at_the_door(error: DBAPIError) -> bool:
    """Wrong password, unknown database: an operator may mend it, so it is worth another try (E5)."""
    return isinstance(error, OperationalError)


def give_up(connection: Connection, error: BaseException) -> None:
    """Roll back; a connection that cannot even do that is thrown away, and the error at hand matters more."""
    if isinstance(error, DBAPIError) and is_away(error) and not isinstance(error.orig, sqlite3.Error):
        connection.invalidate()
        return
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()


def description(engine: Engine, error: DBAPIError) -> str:
    """What happened and where, on one line, without the password."""
    first = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    return f"the database {where(engine)} is away: {first}"


def where(engine: Engine) -> str:
    """The engine's database, for people: without the password and the fine print."""
    return engine.url.set(query={}).render_as_string()


def _sqlite_code(error: DBAPIError) -> int | None:
    """SQLite's primary error code; an extended one carries it in its low byte."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _sqlite(url: URL) -> Engine:
    arguments = {} if "timeout" in url.query else {"timeout": _SQLITE_BUSY_S}
    engine = create_engine(url, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        # Python's own BEGIN comes too late and takes no lock; ours is below.
        dbapi_connection.isolation_level = None
        dbapi_connection.execute("PRAGMA foreign_keys=ON")
        _write_ahead(dbapi_connection)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Two transactions that both read and then write would deadlock; the write lock at once makes one wait.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite refuses, without waiting, all but one of those who do so at once."""
    (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    deadline = time.monotonic() + patience_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
