"""`put`: a message in the caller's own transaction. It only inserts: no thread, no connection to a broker.

What commits with the transaction is sent, what is rolled back with it (a savepoint too) never was. Safe before and
after forks, in tests, and behind PgBouncer in transaction mode. A relay of the same table does the sending.
"""

from __future__ import annotations

import sqlite3
import sys
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import BigInteger, Connection, Interval, MetaData, Table, cast, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session

from amends.db.mysql import is_mysql
from amends.db.tables.outbox import key_table, outbox_table
from amends.outbox import putting_drivers as drivers
from amends.outbox import sql_mysql, sql_postgresql, sql_sqlite
from amends.outbox.errors import UnsupportedSession
from amends.outbox.limits import BODY_BYTES_MAX, check, key_hash
from amends.outbox.message import Message
from amends.outbox.storage import message_values
from amends.outbox.store import not_installed, require_known
from amends.outbox.store_mysql import locking
from amends.outbox.store_postgresql import insert_one_values
from amends.outbox.store_sqlite import row_values
from amends.outbox.tracing import switch

if TYPE_CHECKING:
    import psycopg
    import psycopg2.extensions
    import pymysql
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

TABLE: Final = "amends_outbox"

Putter: TypeAlias = (
    "Session | scoped_session[Any] | Connection | psycopg.Connection[Any] | psycopg2.extensions.connection"
    " | pymysql.Connection | sqlite3.Connection"
)
AsyncPutter: TypeAlias = (
    "AsyncSession | async_scoped_session[Any] | AsyncConnection | psycopg.AsyncConnection[Any]"
)


def put(
    session: Putter,
    message: Message,
    *,
    table: str = TABLE,
    schema: str | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> int:
    """Store a message in the transaction that is open on `session`, and answer its row id.

    `session` is a SQLAlchemy Session or Connection on PostgreSQL, MySQL, MariaDB or SQLite, by any of their drivers, or
    a connection of psycopg, psycopg2, pymysql or sqlite3 itself. A message with a key waits for other transactions that
    have put one with this key (O6): a transaction that puts several keys had better put them in one order everywhere,
    else two of them may deadlock.

    Raises: MessageTooLarge before anything is stored (O5). UnsupportedSession for anything else, and for a
    connection in autocommit without a transaction, on which nothing would tie the message to what it tells of.
    OutboxNotInstalled if the table is missing. Errors of the database pass through.
    """
    check(message, body_bytes_max)
    if switch.tracing is not None:
        message = switch.tracing.created(message)
    if isinstance(session, scoped_session):
        session = session()
    if isinstance(session, Session):
        return _put_sqlalchemy(session.connection(), message, table, schema)
    if isinstance(session, Connection):
        return _put_sqlalchemy(session, message, table, schema)
    if isinstance(session, sqlite3.Connection):
        return _put_sqlite3(session, message, table, schema)
    if _is(session, "psycopg", "Connection"):
        return _put_psycopg(session, message, table, schema)
    if _is(session, "psycopg2.extensions", "connection"):
        return drivers.put_psycopg2(session, message, _table(table, schema))
    if _is(session, "pymysql.connections", "Connection"):
        return drivers.put_pymysql(session, message, _table(table, schema))
    if hasattr(session, "run_sync") or _is(session, "psycopg", "AsyncConnection"):
        raise UnsupportedSession(f"{_name(session)} is asynchronous; use: await aput(session, message)")
    raise UnsupportedSession(_unknown(session, "put"))


async def aput(
    session: AsyncPutter,
    message: Message,
    *,
    table: str = TABLE,
    schema: str | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> int:
    """As `put`, on a SQLAlchemy AsyncSession or AsyncConnection, or a psycopg AsyncConnection."""
    check(message, body_bytes_max)
    if _is(session, "psycopg", "AsyncConnection"):
        if switch.tracing is not None:
            message = switch.tracing.created(message)
        return await _aput_psycopg(session, message, table, schema)
    # Through a name: what has been imported tells whether `session` can be of such a type.
    extension = sys.modules.get("sqlalchemy.ext.asyncio")
    if extension is not None:
        if isinstance(session, extension.async_scoped_session):
            session = session()
        if isinstance(session, extension.AsyncSession | extension.AsyncConnection):
            row_id: int = await session.run_sync(
                put, message, table=table, schema=schema, body_bytes_max=body_bytes_max
            )
            return row_id
    raise UnsupportedSession(_unknown(session, "aput"))


@lru_cache(maxsize=16)
def _table(name: str, schema: str | None) -> Table:
    return outbox_table(name, MetaData(), schema)


def _put_sqlalchemy(connection: Connection, message: Message, table: str, schema: str | None) -> int:
    dialect = connection.dialect.name
    require_known(dialect)
    driver: Any = connection.connection.dbapi_connection
    # Not every driver tells: sqlite3's own words for it are another dialect's ordinary state.
    chosen = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    of_mysql = is_mysql(dialect) and drivers.commits_alone(driver)
    if getattr(driver, "autocommit", None) is True or chosen or of_mysql:
        raise UnsupportedSession(drivers.AUTOCOMMIT)
    outbox = _table(table, schema)
    with not_installed(outbox.fullname, DBAPIError):
        if connection.dialect.driver == "psycopg":
            return _put_text(connection, message, table, schema)
        if is_mysql(dialect):
            return _put_mysql(connection, message, outbox)
        if message.key is not None and dialect == "postgresql":
            # A statement of its own: the id must be drawn after the lock is held (O6).
            lock = cast(key_hash(table, message.key), BigInteger)
            connection.execute(select(func.pg_advisory_xact_lock(lock))).close()
        insert = outbox.insert().values(**_columns(message, dialect)).returning(outbox.c.id)
        return int(connection.execute(insert).scalar_one())


def _put_text(connection: Connection, message: Message, table: str, schema: str | None) -> int:
    """By the statement itself: building it anew for each message would cost more than all else."""
    if message.key is not None:
        lock = {"keys": [key_hash(table, message.key)]}
        # A statement of its own: the id must be drawn after the lock is held (O6).
        connection.exec_driver_sql(sql_postgresql.LOCK_KEYS, lock).close()
    inserted = connection.exec_driver_sql(_insert(table, schema), insert_one_values(message, None))
    return int(inserted.scalar_one())


def _put_mysql(connection: Connection, message: Message, outbox: Table) -> int:
    """Without RETURNING, which MySQL has not."""
    if message.key is not None:
        keys = key_table(outbox.name, outbox.schema)
        statements = {"LOCK_KEYS": sql_mysql.LOCK_KEYS, "HIDE_KEYS": sql_mysql.HIDE_KEYS}
        for statement in locking(statements, [key_hash(outbox.name, message.key)]):
            connection.exec_driver_sql(statement.replace("$keys", keys))
    stored = connection.execute(outbox.insert().values(**_columns(message, "mysql")))
    assert stored.inserted_primary_key is not None, "one row was inserted"
    return int(stored.inserted_primary_key[0])


def _columns(message: Message, dialect: str) -> dict[str, object]:
    now: Any
    if dialect == "postgresql":
        # Not the transaction's begin, which may be long ago.
        now = func.statement_timestamp()
        due = now + cast(timedelta(seconds=message.delay_s), Interval) if message.delay_s else now
    elif dialect == "mysql":
        now = func.utc_timestamp(literal_column("6"))
        due = func.timestampadd(literal_column("MICROSECOND"), int(message.delay_s * 1_000_000), now)
    else:
        now = func.strftime("%Y-%m-%d %H:%M:%f", "now")
        due = func.strftime("%Y-%m-%d %H:%M:%f", "now", f"{message.delay_s:+.3f} seconds")
    return {**message_values(message), "created_at": now, "due_at": due}


def _put_psycopg(session: Any, message: Message, table: str, schema: str | None) -> int:
    _refuse_psycopg_autocommit(session)
    statement, error = _psycopg(table, schema)
    with not_installed(table, error), session.cursor(row_factory=_rows()) as cursor:
        if message.key is not None:
            cursor.execute(sql_postgresql.LOCK_KEYS, {"keys": [key_hash(table, message.key)]}, prepare=False)
        cursor.execute(statement, insert_one_values(message, None), prepare=False)
        return int(cursor.fetchone()[0])


async def _aput_psycopg(session: Any, message: Message, table: str, schema: str | None) -> int:
    _refuse_psycopg_autocommit(session)
    statement, error = _psycopg(table, schema)
    with not_installed(table, error):
        async with session.cursor(row_factory=_rows()) as cursor:
            if message.key is not None:
                lock = {"keys": [key_hash(table, message.key)]}
                await cursor.execute(sql_postgresql.LOCK_KEYS, lock, prepare=False)
            await cursor.execute(statement, insert_one_values(message, None), prepare=False)
            return int((await cursor.fetchone())[0])


def _psycopg(table: str, schema: str | None) -> tuple[str, type[Exception]]:
    error: type[Exception] = sys.modules["psycopg"].Error
    return _insert(table, schema), error


@lru_cache(maxsize=16)
def _insert(table: str, schema: str | None) -> str:
    quoted = postgresql.dialect().identifier_preparer.format_table(_table(table, schema))  # type: ignore[no-untyped-call,unused-ignore]
    return sql_postgresql.INSERT_ONE.replace("$outbox", quoted)


def _rows() -> Any:
    return sys.modules["psycopg"].rows.tuple_row


def _refuse_psycopg_autocommit(session: Any) -> None:
    idle = sys.modules["psycopg"].pq.TransactionStatus.IDLE
    if session.autocommit and session.info.transaction_status == idle:
        raise UnsupportedSession(drivers.AUTOCOMMIT)


def _put_sqlite3(session: sqlite3.Connection, message: Message, table: str, schema: str | None) -> int:
    if not session.in_transaction and (
        session.isolation_level is None or getattr(session, "autocommit", None) is True
    ):
        raise UnsupportedSession(drivers.AUTOCOMMIT)
    quoted = sqlite.dialect().identifier_preparer.format_table(_table(table, schema))  # type: ignore[no-untyped-call,unused-ignore]
    statement = (
        sql_sqlite.INSERT.replace("$outbox", quoted)
        .replace("$rows RETURNING id", sql_sqlite.INSERT_ROW)
        .replace("$now", sql_sqlite.NOW)
    )
    with not_installed(table, sqlite3.Error):
        row_id = session.execute(statement, row_values(message, None)).lastrowid
    assert row_id is not None, "an insert has a row id"
    return row_id


def _is(session: object, module: str, name: str) -> bool:
    """Whether it is of this type, without importing a module that may not be installed."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(session, kind)


def _name(session: object) -> str:
    return f"{type(session).__module__}.{type(session).__qualname__}"


def _unknown(session: object, function: str) -> str:
    known = {
        "put": "a SQLAlchemy Session or Connection, or a connection of psycopg, psycopg2, pymysql or sqlite3",
        "aput": "a SQLAlchemy AsyncSession or AsyncConnection, a psycopg AsyncConnection",
    }[function]
    return f"{function} does not know {_name(session)}; give it {known}"
