"""Several statements in one round trip to the database, where the driver can: psycopg 3 with its pipeline mode.

On any other driver they run one after another. The pipeline is never left on: between two calls the connection is as
every user of SQLAlchemy and psycopg knows it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


class Statement(NamedTuple):
    """SQL with named parameters in the driver's own style, and their values; None for SQL without any."""

    sql: str
    values: Mapping[str, object] | None = None


class Told(NamedTuple):
    """What a statement answered: how many rows it touched, and those it returned."""

    rowcount: int
    rows: Sequence[Sequence[Any]] = ()


Values: TypeAlias = Mapping[str, Any]
Answered: TypeAlias = tuple[Sequence[Any], int]  # rows, and how many were touched

BEGIN: Final = Statement("BEGIN ISOLATION LEVEL READ COMMITTED")
COMMIT: Final = Statement("COMMIT")
_CURSORS_MAX: Final = 50
# A kept cursor keeps what it answered last: not for the sake of an outbox full of large messages.
_KEPT_ROWS_MAX: Final = 10
_IDLE, _IN_TRANSACTION = 0, 2  # libpq's PQTRANS_IDLE and PQTRANS_INTRANS


def one_trip(connection: Connection, statements: Sequence[Statement]) -> list[Told]:
    """Run these in the connection's transaction, which they begin if none is open; their answers, in order.

    Raises: DBAPIError for the first that fails; those after it have not run.
    """
    driver = _pipelining(connection)
    if driver is None:
        return [_alone(connection, statement) for statement in statements]
    if not connection.in_transaction():
        connection.begin()
    begins = _status(driver) == _IDLE and _begins_plainly(driver)
    answers = _piped(connection, driver, [BEGIN, *statements] if begins else statements)
    return answers[1:] if begins else answers


def commit_with(connection: Connection, statements: Sequence[Statement]) -> list[Told] | None:
    """Run these in the open transaction and COMMIT it, in one round trip; their answers, in order.

    None: this connection cannot, and nothing was done. Raises: DBAPIError for the first that fails; the transaction is
    not committed then, unless `undecided` says that nobody knows.
    """
    driver = _pipelining(connection)
    if driver is None or _status(driver) != _IN_TRANSACTION:
        return None
    answers = _piped(connection, driver, [*statements, COMMIT])
    # For the driver nothing is open any more; SQLAlchemy and its listeners are told.
    connection.commit()
    return answers[:-1]


def transacted(connection: Connection, statement: Statement) -> Told:
    """Run this as a transaction of its own, in one round trip; its answer. Raises: DBAPIError; then roll back."""
    if can_pipeline(connection):
        driver = TripDriver(connection)
        connection.begin()
        ((rows, touched),) = driver.run([(statement.sql, statement.values or {})], commit=True)
        told = Told(touched, rows)
    else:
        told = _alone(connection, statement)
    # For the driver nothing is open any more, or it commits now; SQLAlchemy and its listeners are told.
    connection.commit()
    return told


class TripDriver:
    """A driver for `amends.db.pipelines` on a connection that is not amends' own.

    Slower than `amends.db.pipeline_driver`, and it leaves the connection's own prepared statements alone.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = _pipelining(connection)

    @property
    def begun(self) -> bool:
        """Whether a transaction is open."""
        return bool(_status(self._driver) != _IDLE)

    def run(self, calls: Sequence[tuple[str, Values]], *, commit: bool) -> list[Answered]:
        """Send these, with a BEGIN before them if none is open, and take every answer. Raises: DBAPIError."""
        begin = () if self.begun else (BEGIN,)
        statements = [*begin, *(Statement(*call) for call in calls), *((COMMIT,) if commit else ())]
        told = _piped(self._connection, self._driver, statements)
        return [(one.rows, one.rowcount) for one in told[len(begin) : len(begin) + len(calls)]]


def can_pipeline(connection: Connection) -> bool:
    """Whether `TripDriver` can work here: not where somebody listens to statements, which pass SQLAlchemy by."""
    heard = connection.dispatch.before_cursor_execute or connection.dispatch.after_cursor_execute
    return not heard and _pipelining(connection) is not None


def undecided(error: DBAPIError) -> bool:
    """After `commit_with` raised: whether the COMMIT may have happened, since the connection broke."""
    return bool(error.connection_invalidated)


def _alone(connection: Connection, statement: Statement) -> Told:
    result = connection.exec_driver_sql(statement.sql, statement.values)
    return Told(result.rowcount, result.all() if result.returns_rows else ())


def _piped(connection: Connection, driver: Any, statements: Sequence[Statement]) -> list[Told]:
    cursors = [
        None if values is None else _cursor(connection, driver, sql, number)
        for number, (sql, values) in enumerate(statements)
    ]
    try:
        with driver.pipeline() as pipeline:
            for cursor, (sql, values) in zip(cursors, statements, strict=True):
                if cursor is None:
                    # Past the cursor, which would put a BEGIN, and a round trip for it, before a first statement.
                    driver.pgconn.send_query_params(sql.encode(), None)
                    pipeline.result_queue.append(None)
                else:
                    cursor.execute(sql, values)
    except sys.modules["psycopg"].Error as error:
        raise wrapped(connection, driver, error) from error
    told = [_NOTHING_TOLD if cursor is None else _told(cursor) for cursor in cursors]
    for number, (one, (sql, _)) in enumerate(zip(told, statements, strict=True)):
        if len(one.rows) > _KEPT_ROWS_MAX:
            del connection.info[_KEPT][sql, number]
    return told


def _cursor(connection: Connection, driver: Any, sql: str, place: int) -> Any:
    """A cursor that runs nothing but this statement at this place: it knows how the values are written already."""
    known = connection.info.setdefault(_KEPT, {})
    cursor = known.get((sql, place))
    if cursor is None:
        psycopg = sys.modules["psycopg"]
        if len(known) >= _CURSORS_MAX:
            known.clear()
        cursor = known[sql, place] = psycopg.Cursor(driver, row_factory=psycopg.rows.tuple_row)
    return cursor


_NOTHING_TOLD: Final = Told(-1)
_KEPT: Final = "amends_cursors"


def _told(cursor: Any) -> Told:
    return Told(cursor.rowcount, cursor.fetchall() if cursor.rownumber is not None else ())


def wrapped(connection: Connection, driver: Any, error: Exception) -> BaseException:
    """The error as SQLAlchemy raises it; one that broke goes with all connections of its pool, as SQLAlchemy has it."""
    broke = bool(driver.closed or driver.broken)
    if broke:
        # The others were most likely cut too: each is made anew when it is next taken, instead of failing once more.
        connection.engine.pool._invalidate(connection.connection, error, _checkin=False)
        connection.invalidate(error)
    return DBAPIError.instance(
        None,
        None,
        error,
        sys.modules["psycopg"].Error,
        hide_parameters=True,
        connection_invalidated=broke,
        dialect=connection.dialect,
    )


def _pipelining(connection: Connection) -> Any:
    """The driver's connection, if it is psycopg's and can do this; else None."""
    if connection.dialect.driver != "psycopg":
        return None
    driver: Any = connection.connection.driver_connection
    kind = type(driver)
    if kind not in _can_pipeline:
        _can_pipeline[kind] = _tried(driver)
    return driver if _can_pipeline[kind] and not driver.autocommit else None


_can_pipeline: Final[dict[type, bool]] = {}


def _tried(driver: Any) -> bool:
    """Whether this kind of connection can: an old libpq has no pipeline."""
    psycopg = sys.modules["psycopg"]
    if not (isinstance(driver, psycopg.Connection) and psycopg.Pipeline.is_supported()):
        return False
    with driver.pipeline() as pipeline:
        return hasattr(pipeline, "result_queue")  # How psycopg is told of what is sent past its cursors.


def _status(driver: Any) -> Any:
    """What the transaction is in: compare with psycopg's TransactionStatus."""
    return driver.pgconn.transaction_status


def _begins_plainly(driver: Any) -> bool:
    """Whether the driver would begin the transaction with no other options than we do."""
    level = sys.modules["psycopg"].IsolationLevel.READ_COMMITTED
    return driver.isolation_level == level and driver.read_only is None and driver.deferrable is None
