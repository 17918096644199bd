"""Keeps handlers from ending the transaction that also holds the barrier and the reply (B4).

`connection.commit()`, `session.commit()` and their rollbacks are stopped before they do anything. What goes past
SQLAlchemy (a COMMIT on the raw connection) is found by the barrier: its savepoint is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

from amends.participants.errors import HandlerEndedTransaction


class TransactionGuard:
    """Watches the transactions of one engine, each in the thread that runs its handler."""

    def __init__(self, engine: Engine) -> None:
        """`engine` gets listeners: give it one that nobody else uses, such as `engine.execution_options()`."""
        self._watched = threading.local()
        event.listen(engine, "commit", self._on_commit)
        event.listen(engine, "rollback", self._on_rollback)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """While a handler runs. Raises: HandlerEndedTransaction at the end, also if the handler swallowed it."""
        self._watched.connection = self._watched.ended = None
        try:
            yield
        finally:
            self._watched.connection = None
            if self._watched.ended is not None:
                # Whatever else the handler raised follows from this.
                raise HandlerEndedTransaction(self._watched.ended)

    def watch(self, connection: Connection) -> None:
        """The handler at work in this thread has got hold of this connection."""
        self._watched.connection = connection

    def session(self, connection: Connection) -> Session:
        """An ORM session on a watched connection: it works in a savepoint, and its own end is stopped too."""
        session = HandlerSession(self, connection)
        event.listen(session, "before_commit", self._on_session_commit)
        return session

    def end(self, what: str) -> None:
        """Stop a handler that is about to end the transaction. Raises: HandlerEndedTransaction; else returns."""
        if getattr(self._watched, "connection", None) is not None:
            self._watched.ended = what
            raise HandlerEndedTransaction(what)

    def _on_session_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            self.end("session.commit()")

    def _on_commit(self, connection: Connection) -> None:
        if getattr(self._watched, "connection", None) is connection:
            self.end("connection.commit()")

    def _on_rollback(self, connection: Connection) -> None:
        if getattr(self._watched, "connection", None) is connection:
            self.end("connection.rollback()")


class HandlerSession(Session):
    """A handler's session. A flush that fails undoes the session's own work alone, so that Refused can follow."""

    def __init__(self, guard: TransactionGuard, connection: Connection) -> None:
        super().__init__(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        self._guard = guard

    def rollback(self) -> None:
        """Stopped: what the handler did on the connection itself would stay, and it would count as done."""
        if not self.in_nested_transaction():
            self._guard.end("session.rollback()")
        super().rollback()
