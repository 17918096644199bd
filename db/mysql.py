"""MySQL and MariaDB as a service's database, by the driver pymysql: engines, and what its errors mean.

SQLAlchemy knows them by two names, as the URL says; to amends they are one.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError

from amends.db.errors import MissingExtra, UnsupportedDatabase

NAMES: Final = ("mysql", "mariadb")

NO_TABLE: Final = (1146, 1054)  # no such table, no such column
DEADLOCK: Final = 1213
LOCK_TIMEOUT: Final = 1205
NO_SAVEPOINT: Final = 1305

# The server is in trouble, or the way to it: cannot connect (2002, 2003), gone or lost (2006, 2013, 2055), killed or
# cut off for idling (1927, 4031), shutting down (1053), no room for another connection or file (1040, 1203, 1226,
# 1129, 1021, 1114), network errors (1158 to 1161), read-only since it is a replica now (1290, 1836).
_AWAY: Final = frozenset(
    (2002, 2003, 2006, 2013, 2055, 1927, 4031, 1053, 1040, 1203, 1226, 1129, 1021, 1114, 1290, 1836)
) | frozenset(range(1158, 1162))
_LEAST_MARIADB: Final = (10, 6)
_LEAST_MYSQL: Final = (8, 0, 1)
_OWN: Final = "amends_own_pool"
_CUT_S: Final = 5.0  # How much longer than the server's own limit the client waits for an answer.
_RECYCLE_S: Final = 1_800.0  # The server ends idle sessions, by default after eight hours.


def is_mysql(dialect: str) -> bool:
    """Whether SQLAlchemy's name of a dialect means one of the two."""
    return dialect in NAMES


def code(error: BaseException | None) -> int | None:
    """The number of a driver's error; None if it has none."""
    found = error.args[0] if error is not None and error.args else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def is_away(error: DBAPIError) -> bool:
    """Whether it is the server that is in trouble, or the way to it, rather than the statement."""
    number = code(error.orig)
    if number == 0:
        return isinstance(error, InterfaceError)  # The driver has closed the connection already.
    return number in _AWAY


def open_mysql(
    url: URL,
    *,
    pool_max: int,
    statement_timeout_s: float,
    lock_timeout_s: float,
    pool_wait_s: float,
    connect_s: int,
) -> Engine:
    """An engine at READ COMMITTED. Raises: MissingExtra without pymysql."""
    arguments: dict[str, Any] = {"connect_timeout": connect_s, "charset": "utf8mb4"}
    if statement_timeout_s:
        # Also what a server costs that vanished without a word.
        arguments["read_timeout"] = arguments["write_timeout"] = int(statement_timeout_s + _CUT_S)
    try:
        engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            # Errors end up in logs, and parameters are payloads.
            hide_parameters=True,
            pool_size=pool_max,
            max_overflow=0,
            pool_timeout=pool_wait_s,
            pool_use_lifo=True,
            pool_recycle=_RECYCLE_S,
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            execution_options={_OWN: True},
        )
    except ModuleNotFoundError as error:
        raise MissingExtra("MySQL and MariaDB", "mysql") from error

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        limit_session(dbapi_connection, statement_timeout_s, lock_timeout_s)

    return engine


def limit_session(driver: Any, statement_timeout_s: float, lock_timeout_s: float) -> None:
    """Limit what a session waits for, 0 of `statement_timeout_s` meaning for ever; a lock is waited for whole seconds.

    MariaDB ends any statement, and transactions that idle; MySQL can end but reading ones.
    """
    limits = [f"innodb_lock_wait_timeout = {max(1, round(lock_timeout_s))}"] if lock_timeout_s else []
    if "mariadb" in str(driver.get_server_info()).lower():
        limits += [
            f"max_statement_time = {statement_timeout_s:g}",
            f"idle_transaction_timeout = {int(2 * statement_timeout_s)}",
        ]
    else:
        limits.append(f"max_execution_time = {int(statement_timeout_s * 1000)}")
    with driver.cursor() as cursor:
        cursor.execute(f"SET SESSION {', '.join(limits)}")


def own_pool(engine: Engine) -> Engine:
    """An engine that connects as this one, with a pool of its own at READ COMMITTED; itself if amends opened it.

    Isolation and lock timeout belong to a session here: setting them in each transaction would cost round trips, and
    left set they would surprise the service's own code. `let_go` of it.
    """
    options = engine.get_execution_options()
    if _OWN in options:
        return engine
    kept = {name: value for name, value in options.items() if name != "isolation_level"}
    own = Engine(
        engine.pool.recreate(),
        engine.dialect,
        engine.url,
        execution_options={**kept, _OWN: True},
        hide_parameters=True,
    )

    @event.listens_for(own.pool, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        # Takes back what the service's engine may have set just before: autocommit, above all.
        own.dialect.set_isolation_level(dbapi_connection, "READ COMMITTED")

    return own


def let_go(own: Engine, engine: Engine) -> None:
    """Close the connections of what `own_pool` made of an engine, if it made a pool."""
    if own.pool is not engine.pool:
        own.dispose()


def require_skip_locked(engine: Engine) -> None:
    """Raises: UnsupportedDatabase for a server without SKIP LOCKED, on which relays would wait for each other."""
    dialect: Any = engine.dialect
    found = getattr(dialect, "_mariadb_normalized_version_info", None) or dialect.server_version_info or ()
    least = _LEAST_MARIADB if dialect.is_mariadb else _LEAST_MYSQL
    if tuple(found[: len(least)]) < least:
        kind = "MariaDB" if dialect.is_mariadb else "MySQL"
        raise UnsupportedDatabase(
            f"this {kind} is version {'.'.join(map(str, found))}; amends needs {'.'.join(map(str, least))} or newer"
        )
