"""Where a test lets handlers work: an engine of its own, or the project's session or connection, which it joins.

On an engine each command has a transaction that commits. On a session or connection it has a SAVEPOINT in the
transaction that is open there, and nothing is ever committed: the project's own rollback fixture takes all of it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeAlias, runtime_checkable

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from amends.db.engines import transaction
from amends.participants.worker.databases import own_engine
from amends.testing.errors import NotServed

Database: TypeAlias = "Engine | Connection | Session | scoped_session[Any] | Workplace | str"


@runtime_checkable
class Workplace(Protocol):
    """A database in which handlers work."""

    @property
    def engine(self) -> Engine:
        """Whose listeners and dialect are those of its connections."""

    @property
    def guarded(self) -> Engine | Connection:
        """What a handler must not commit."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """What is kept as a whole, or not at all."""


class OwnTransactions:
    """Transactions of an engine; each commits."""

    def __init__(self, engine: Engine) -> None:
        self.engine = self.guarded = own_engine(engine)

    def transaction(self) -> AbstractContextManager[Connection]:
        return transaction(self.engine)


class Savepoints:
    """SAVEPOINTs in the transaction that is open on a connection, perhaps a session's; nothing commits."""

    def __init__(self, connection: Connection, session: Session | None = None) -> None:
        """Raises: NotServed for a connection in autocommit, on which nothing can be taken back."""
        chosen = connection.get_execution_options().get("isolation_level")
        if "AUTOCOMMIT" in (chosen, connection.get_isolation_level()):
            raise NotServed(
                "this connection is in autocommit: no transaction holds barrier row, effect and reply together; "
                "give one with a transaction, or an engine"
            )
        self.engine = connection.engine
        self.guarded = connection
        self._session = session

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """What the session holds is written first; what it has read is read anew afterwards."""
        if self._session is not None:
            self._session.flush()
        try:
            with self.guarded.begin_nested():
                yield self.guarded
        finally:
            if self._session is not None:
                self._session.expire_all()


def workplace(database: Database) -> Workplace:
    """Raises: NotServed, saying what it takes."""
    if isinstance(database, Workplace):
        return database
    if isinstance(database, scoped_session):
        database = database()
    if isinstance(database, str):
        from amends.db.engines import open_engine

        database = open_engine(database)
    if isinstance(database, Engine):
        return OwnTransactions(database)
    if isinstance(database, Connection):
        return Savepoints(database)
    if isinstance(database, Session):
        return Savepoints(database.connection(), database)
    if hasattr(database, "run_sync"):
        raise NotServed(
            f"{type(database).__name__} is asynchronous; inside it: await session.run_sync(lambda session: ...)"
        )
    raise NotServed(
        f"handlers work on an Engine, a URL, or an open Connection or Session of SQLAlchemy's, not on {database!r:.80}"
    )
