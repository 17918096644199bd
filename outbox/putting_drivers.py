"""`put` on connections of psycopg2 and pymysql themselves, without SQLAlchemy. Neither is imported here."""

from __future__ import annotations

import sys
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, postgresql

from amends.db.tables.outbox import key_table
from amends.outbox import sql_mysql, sql_postgresql
from amends.outbox.errors import UnsupportedSession
from amends.outbox.limits import key_hash
from amends.outbox.message import Message
from amends.outbox.store import not_installed
from amends.outbox.store_mysql import locking, row_values
from amends.outbox.store_postgresql import insert_one_values

AUTOCOMMIT: Final = (
    "this connection commits every statement by itself, so the message would not share the fate of what it tells of; "
    "begin a transaction"
)
_IN_TRANSACTION: Final = 1  # SERVER_STATUS_IN_TRANS of the MySQL protocol.


def put_psycopg2(session: Any, message: Message, outbox: Table) -> int:
    """As `put`. Raises: UnsupportedSession in autocommit, and for psycopg2's asynchronous connections."""
    extensions = sys.modules["psycopg2.extensions"]
    if session.async_:
        raise UnsupportedSession(
            "an asynchronous psycopg2 connection has no transactions; use psycopg 3, with aput"
        )
    if session.autocommit and session.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE:
        raise UnsupportedSession(AUTOCOMMIT)
    quoted = postgresql.dialect().identifier_preparer.format_table(outbox)  # type: ignore[no-untyped-call,unused-ignore]
    # A plain cursor, whatever kind the connection is set to make.
    with (
        not_installed(outbox.fullname, sys.modules["psycopg2"].Error),
        session.cursor(cursor_factory=extensions.cursor) as cursor,
    ):
        if message.key is not None:
            # A statement of its own: the id must be drawn after the lock is held (O6).
            lock = {"keys": [key_hash(outbox.name, message.key)]}
            cursor.execute(sql_postgresql.LOCK_KEYS.replace("%(keys)b", "%(keys)s"), lock)
        cursor.execute(sql_postgresql.INSERT_ONE.replace("$outbox", quoted), insert_one_values(message, None))
        return int(cursor.fetchone()[0])


def put_pymysql(session: Any, message: Message, outbox: Table) -> int:
    """As `put`. Raises: UnsupportedSession in autocommit."""
    if commits_alone(session):
        raise UnsupportedSession(AUTOCOMMIT)
    quoted = mysql.dialect().identifier_preparer.format_table(outbox)  # type: ignore[no-untyped-call,unused-ignore]
    modules = sys.modules
    with (
        not_installed(outbox.fullname, modules["pymysql.err"].MySQLError),
        session.cursor(modules["pymysql.cursors"].Cursor) as cursor,
    ):
        if message.key is not None:
            keys = key_table(outbox.name, outbox.schema)
            statements = {"LOCK_KEYS": sql_mysql.LOCK_KEYS, "HIDE_KEYS": sql_mysql.HIDE_KEYS}
            # Statements of their own: the id must be drawn after the lock is held (O6).
            for statement in locking(statements, [key_hash(outbox.name, message.key)]):
                cursor.execute(statement.replace("$keys", keys))
        insert = sql_mysql.INSERT.replace("$outbox", quoted).replace("$rows", sql_mysql.INSERT_ROW)
        cursor.execute(insert, row_values(message, None))
        return int(cursor.lastrowid)


def commits_alone(driver: Any) -> bool:
    """Whether a MySQL driver's connection commits every statement, and no transaction was begun on it by hand."""
    alone = getattr(driver, "get_autocommit", None)
    if alone is None or not alone():
        return False
    return not getattr(driver, "server_status", 0) & _IN_TRANSACTION
