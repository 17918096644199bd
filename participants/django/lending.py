"""Lends Django's ORM the connection of a worker's transaction while a handler runs.

What the ORM writes is then part of the transaction that also holds the barrier row and the reply (B1): `atomic()` is a
savepoint in it, and commit and rollback are the worker's alone (B4). PostgreSQL with psycopg 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import psycopg
from django.db import Error, close_old_connections, connections
from django.db.backends.postgresql import base
from django.db.backends.signals import connection_created
from django.db.transaction import Atomic, TransactionManagementError
from sqlalchemy.exc import DBAPIError

from amends.participants.context import Ctx
from amends.participants.errors import HandlerEndedTransaction
from amends.participants.surrounding import Around


def lending(alias: str) -> Around:
    """For `surrounded`: in a handler, the database `alias` of Django's is the worker's own connection.

    The worker must work on the same database. Of an external handler it is lent at the first query: call the outside
    first, then record what it said.
    """

    @contextmanager
    def around(ctx: Ctx) -> Iterator[None]:
        with Loan(alias, ctx).open():
            yield

    return around


class LentConnection(psycopg.Connection[Any]):
    """A second psycopg connection object on the same wire, with Django's types and cursors, that cannot end it."""

    def __init__(self, pgconn: Any, parameters: dict[str, Any], end: Callable[[str], NoReturn]) -> None:
        super().__init__(pgconn)
        self._lent_adapters: Final = psycopg.adapt.AdaptersMap(parameters["context"])
        self._end = end
        self.cursor_factory = parameters["cursor_factory"]
        # The worker's own object numbers the statements that it has prepared on this wire; two would collide.
        self.prepare_threshold = None

    @property
    def adapters(self) -> Any:
        """As Django wants values."""
        return self._lent_adapters

    def commit(self) -> None:
        """Stopped. Raises: HandlerEndedTransaction."""
        self._end("connection.commit()")

    def rollback(self) -> None:
        """Stopped. Raises: HandlerEndedTransaction."""
        self._end("connection.rollback()")

    def close(self) -> None:
        """Stopped: it is not ours. Raises: HandlerEndedTransaction."""
        self._end("connection.close()")

    def __del__(self, *_arguments: object) -> None:
        """Nothing: the worker closes it."""


class Loan:
    """One handler's use of a Django database. In the thread that runs the handler."""

    def __init__(self, alias: str, ctx: Ctx) -> None:
        self._alias = alias
        self._ctx = ctx
        self._wrapper: Any = connections[alias]
        self._ended: str | None = None
        self._driver: Any = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Lend until the block ends.

        Raises: HandlerEndedTransaction, also if the handler swallowed it; TransactionManagementError if the handler
        returned from a transaction that must be rolled back. An error of the database is raised as SQLAlchemy's, so
        that the worker knows a deadlock or a lost connection by it (B7).
        """
        self._begin()
        try:
            yield
            broken = self._wrapper.needs_rollback
        except Error as error:
            self._stop_if_ended()
            if isinstance(error.__cause__, psycopg.Error):
                raise DBAPIError(None, None, error.__cause__, hide_parameters=True) from error
            raise
        finally:
            self._take_back()
            self._stop_if_ended()
        if broken:
            raise TransactionManagementError(
                "the handler swallowed an error of its database, which may have undone a part of what it did; "
                "put the part that may fail into a transaction.atomic() of its own"
            )

    def _begin(self) -> None:
        wrapper = self._wrapper
        # There are no requests here, after which Django would let go of what has broken or grown old.
        close_old_connections()
        # Whatever ran in this thread outside of a handler has left it here, with a transaction of its own.
        wrapper.close()
        _reset(wrapper)
        wrapper.in_atomic_block = True
        wrapper.commit_on_exit = True
        # A block for `atomic(durable=True)` to find: it would not be durable here.
        wrapper.atomic_blocks = [Atomic(self._alias, True, False)]
        vars(wrapper).update(
            connect=self._connect,
            commit=lambda: self._end("transaction.commit()"),
            rollback=lambda: self._end("transaction.rollback()"),
            on_commit=self._refuse_on_commit,
        )

    def _connect(self) -> None:
        """In place of the wrapper's own: at the first query."""
        wrapper = self._wrapper
        driver: Any = self._ctx.connection.connection.driver_connection
        pgconn = driver.pgconn
        self._driver = driver, pgconn.notice_handler, pgconn.notify_handler
        wrapper.connection = LentConnection(pgconn, _parameters(wrapper), self._end)
        wrapper.autocommit = False
        wrapper.health_check_done = True
        wrapper.close_at = None
        if pgconn.parameter_status(b"TimeZone") != wrapper.timezone_name.encode():
            with wrapper.connection.cursor() as cursor:
                cursor.execute("SELECT set_config('TimeZone', %s, true)", [wrapper.timezone_name])
        connection_created.send(sender=type(wrapper), connection=wrapper)

    def _take_back(self) -> None:
        wrapper = self._wrapper
        for name in ("connect", "commit", "rollback", "on_commit"):
            vars(wrapper).pop(name, None)
        wrapper.connection = None
        _reset(wrapper)
        if self._driver is not None:
            driver, notice_handler, notify_handler = self._driver
            driver.pgconn.notice_handler = notice_handler
            driver.pgconn.notify_handler = notify_handler
            if driver.closed:
                # The ORM found out; SQLAlchemy, and with it the worker, is to know as well.
                self._ctx.connection.invalidate()

    def _end(self, what: str) -> NoReturn:
        self._ended = what
        raise HandlerEndedTransaction(what)

    def _stop_if_ended(self) -> None:
        if self._ended is not None:
            # Whatever else the handler raised follows from this.
            raise HandlerEndedTransaction(self._ended)

    def _refuse_on_commit(self, *_arguments: object, **_options: object) -> NoReturn:
        raise TransactionManagementError(
            "on_commit() has no place in a handler: the worker commits after it, and what then ran could be lost; "
            "put a message with ctx.put(...), or make it a step of the saga"
        )


def _parameters(wrapper: Any) -> dict[str, Any]:
    """What Django would connect with. Django 4.2 chooses the cursors only once it has connected."""
    parameters: dict[str, Any] = wrapper.get_connection_params()
    if "cursor_factory" not in parameters:
        bound = wrapper.settings_dict["OPTIONS"].get("server_side_binding") is True
        parameters["cursor_factory"] = base.ServerBindingCursor if bound else base.Cursor
    return parameters


def _reset(wrapper: Any) -> None:
    """As a wrapper without a connection is."""
    wrapper.in_atomic_block = False
    wrapper.savepoint_ids = []
    wrapper.atomic_blocks = []
    wrapper.run_on_commit = []
    wrapper.needs_rollback = False
    wrapper.closed_in_transaction = False
    wrapper.errors_occurred = False
