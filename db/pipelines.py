"""Transactions whose statements share their round trips, on PostgreSQL.

`pipelined` yields what stands for a connection: `exec_driver_sql` only notes a statement down. All that were noted down
travel together as soon as the answer of one of them is looked at, and the last of them together with the COMMIT. So a
transaction that writes many kinds of rows costs its server's work, and not a wait for each statement.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from amends.db.engines import connected, description, give_up, is_away, transaction, undone
from amends.db.errors import CommitUnknown
from amends.db.trips import Answered, Statement, TripDriver, Values, can_pipeline, transacted


class Driver(Protocol):
    """Sends several statements in one round trip."""

    @property
    def begun(self) -> bool:
        """Whether a transaction is open."""

    def run(self, calls: Sequence[tuple[str, Values]], *, commit: bool) -> Sequence[Answered]:
        """Send these, with a BEGIN before them if none is open, and take every answer.

        Raises: DBAPIError for the first that failed; those after it have not run.
        """


class Answer:
    """What a statement answers. To look at it sends all that was noted down so far."""

    __slots__ = ("_rows", "_send", "_touched")

    def __init__(self, send: Any) -> None:
        self._send = send
        self._rows: Sequence[Any] = ()
        self._touched = -1

    def settle(self, rows: Sequence[Any], touched: int) -> None:
        """The server has answered."""
        self._rows, self._touched, self._send = rows, touched, None

    @property
    def rowcount(self) -> int:
        """How many rows the statement touched, or found."""
        self._look()
        return self._touched

    def all(self) -> Sequence[Any]:
        """Every row."""
        self._look()
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    def first(self) -> Any:
        """The first row, or None."""
        rows = self.all()
        return rows[0] if rows else None

    def one(self) -> Any:
        """The only row."""
        (row,) = self.all()
        return row

    def scalars(self) -> Scalars:
        """The first value of each row."""
        return Scalars([row[0] for row in self.all()])

    def scalar(self) -> Any:
        """The first value, or None."""
        rows = self.all()
        return rows[0][0] if rows else None

    def scalar_one(self) -> Any:
        """The only value."""
        return self.one()[0]

    def close(self) -> None:
        """Nobody looks at it."""

    def _look(self) -> None:
        if self._send is not None:
            self._send()


class Scalars(list[Any]):
    """Values, as SQLAlchemy gives them."""

    __slots__ = ()

    def all(self) -> list[Any]:
        """Every value."""
        return self


class Pipelined:
    """Stands for a `Connection` inside a transaction. One thread's."""

    def __init__(self, connection: Connection, driver: Driver) -> None:
        self._connection = connection
        self._driver = driver
        self._noted: deque[tuple[str, Values, Answer]] = deque()

    @property
    def dialect(self) -> Dialect:
        """The connection's."""
        return self._connection.dialect

    def exec_driver_sql(self, statement: str, values: Values | None = None) -> Answer:
        """Note a statement down. Its error may come with any later look, or with the COMMIT. Raises: DBAPIError."""
        answer = Answer(self.send)
        self._noted.append((statement, values or {}, answer))
        return answer

    def send(self) -> None:
        """Send what is noted down, and take the answers. Raises: DBAPIError for the first that failed."""
        self._travel(commit=False)

    def commit(self) -> None:
        """Send what is noted down, and COMMIT. Raises: as `send`."""
        if self._connection.dispatch.commit:
            # Who listens to commits hears of this one before it travels, and may look at what it is going to commit.
            self.send()
        else:
            self._travel(commit=True)
        # SQLAlchemy's transaction ends too. Only if it has not travelled yet is there still something to COMMIT.
        self._connection.commit()

    def _travel(self, *, commit: bool) -> None:
        noted, self._noted = self._noted, deque()
        if not noted and not (commit and self._driver.begun):
            return
        answers = self._driver.run([(statement, values) for statement, values, _ in noted], commit=commit)
        for (_, _, answer), (rows, touched) in zip(noted, answers, strict=True):
            answer.settle(rows, touched)
        self._tell(noted)

    def _tell(self, noted: deque[tuple[str, Values, Answer]]) -> None:
        """Whoever listens to statements hears of these as of any others."""
        connection = self._connection
        if connection.dispatch.after_cursor_execute:
            for statement, values, answer in noted:
                connection.dispatch.after_cursor_execute(connection, answer, statement, values, None, False)


@contextmanager
def pipelined(engine: Engine) -> Iterator[Connection]:
    """As `transaction`, with statements that share their round trips; what is yielded has only `exec_driver_sql`.

    Their order is kept. An error may come later than its statement, at the latest at the end. For engines that are
    amends' own: on their connections psycopg prepares nothing any more. Raises: as `transaction`; CommitUnknown also if
    the database breaks off during the statements that travel with the COMMIT.
    """
    with _sharing_trips(engine, _own_driver) as connection:
        yield connection


@contextmanager
def unflushed(engine: Engine) -> Iterator[Connection]:
    """As `pipelined` on anybody's engine, and PostgreSQL does not wait until the transaction is on the disk.

    Others see it as soon as it has committed. If the server or its machine crashes within the next three
    `wal_writer_delay` (0.6 seconds by default), it may be gone, whole, as if it had been rolled back. So nothing may
    follow from it but what is repeated when its rows are back. On SQLite it is an ordinary transaction.
    Source: PostgreSQL's documentation, "Asynchronous Commit".
    """
    with _sharing_trips(engine, _shared_driver) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off", {})
        yield connection


def glance(engine: Engine, statement: Statement) -> bool:
    """Whether a statement finds anything, in one round trip and a transaction of its own.

    For whoever looks often and mostly in vain. Raises: StoreUnavailable, DBAPIError.
    """
    with connected(engine) as connection, undone(connection):
        return bool(transacted(connection, statement).rows)


@contextmanager
def _sharing_trips(engine: Engine, driven: Callable[[Connection], Driver | None]) -> Iterator[Connection]:
    if engine.dialect.name != "postgresql":
        with transaction(engine) as connection:
            yield connection
        return
    with connected(engine) as connection:
        connection.begin()
        with undone(connection):
            driver = driven(connection)
            working = connection if driver is None else cast(Connection, Pipelined(connection, driver))
            yield working
        try:
            working.commit()
        except BaseException as error:
            give_up(connection, error)
            if isinstance(error, DBAPIError) and is_away(error):
                raise CommitUnknown(description(engine, error)) from error
            raise


def _own_driver(connection: Connection) -> Driver:
    # psycopg is an extra: it is known to be there once a connection is.
    from amends.db.pipeline_driver import PipelineDriver

    return PipelineDriver(connection)


def _shared_driver(connection: Connection) -> Driver | None:
    return TripDriver(connection) if can_pipeline(connection) else None
