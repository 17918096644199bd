"""A worker's transactions: the only ones that hold a barrier row, an effect and a reply (B1).

Now and then one also deletes the outbox rows that the broker has confirmed (O2).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from amends.db.crashpoints import crash_point
from amends.db.engines import description, transaction
from amends.db.errors import CommitUnknown
from amends.db.trips import Statement, commit_with, undecided
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import SAVEPOINT_GONE, ended_by_handler
from amends.participants.errors import HandlerEndedTransaction

_DELETE_EVERY_S: Final = 0.01


class Unwritten(Exception):
    """Carries an answer out of a transaction that wrote nothing and need not commit."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.outcome)
        self.answer = answer


class Unit:
    """One open transaction, the messages that leave if it commits, and what is still to be written before that."""

    __slots__ = ("connection", "last", "messages")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        self.last: list[Statement] = []

    def later(self, statement: Statement) -> None:
        """Run this at the end, in the round trip of the COMMIT."""
        self.last.append(statement)


class OpensTransactions(Protocol):
    """What obeys commands needs transactions from: a worker's are below, the test kit has some of its own."""

    def begin(self) -> AbstractContextManager[Unit]:
        """One transaction, with a barrier row, an effect and a reply; committed at the end, rolled back on an error."""


class Post(Protocol):
    """Where a worker's messages leave: a `Sender`, or whatever leaves them to the sweep. Thread-safe."""

    @property
    def owner(self) -> UUID | None:
        """The owner to insert rows under; None leaves them to the sweep."""

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Rows whose transaction is known to have committed."""

    def send(self, messages: Sequence[Message]) -> None:
        """Messages of no transaction; they may be lost."""

    def take_confirmed(self) -> list[int]:
        """Rows the broker has, for the caller to delete; then say `deleted` or `give_back`."""

    def deleted(self, ids: Sequence[int]) -> None:
        """The transaction that deleted these is known to have committed."""

    def give_back(self, ids: Sequence[int]) -> None:
        """The transaction that deleted these may not have committed."""

    def renew_owner(self) -> None:
        """A COMMIT is of unknown outcome (O2)."""


class Transactions:
    """Opens the transactions of one worker process."""

    def __init__(self, engine: Engine, store: OutboxStore, sender: Post) -> None:
        self._engine = engine
        self._store = store
        self._sender = sender
        self._delete_at = 0.0

    @contextmanager
    def begin(self) -> Iterator[Unit]:
        """One transaction: what the block does, its messages' outbox rows, and the deletion of confirmed rows.

        Once it is known to have committed, its messages are published from memory. If its COMMIT is of unknown
        outcome, nothing is published: the sweep and a redelivery decide (O3).

        Raises: StoreUnavailable, CommitUnknown, MessageTooLarge, HandlerEndedTransaction, and what the block raises:
        nothing happened then.
        """
        rows: list[OutboxRow] = []
        confirmed: list[int] = []
        try:
            with transaction(self._engine) as connection:
                unit = Unit(connection)
                yield unit
                confirmed = self._confirmed()
                rows = self._conclude(unit, confirmed)
        except BaseException as error:
            if confirmed:
                self._sender.give_back(confirmed)
            if isinstance(error, CommitUnknown):
                self._sender.renew_owner()
            raise
        crash_point("participant.commit.after")
        if confirmed:
            self._sender.deleted(confirmed)
        if rows:
            self._sender.offer(rows)

    def _confirmed(self) -> list[int]:
        # Many at once cost hardly more than one; what nobody takes for longer, the sender deletes itself.
        now = time.monotonic()
        if now < self._delete_at:
            return []
        self._delete_at = now + _DELETE_EVERY_S
        return self._sender.take_confirmed()

    def _conclude(self, unit: Unit, confirmed: list[int]) -> list[OutboxRow]:
        """Write all that is left and, where that goes in one round trip, commit; the rows of the messages."""
        connection, store = unit.connection, self._store
        # Read inside the transaction: after a COMMIT of unknown outcome it is another one (O2).
        owner = self._sender.owner if unit.messages else None
        inserting = store.inserting(connection, unit.messages, owner) if unit.messages else None
        deleting = store.deleting(connection, confirmed) if confirmed else None
        if (unit.messages and inserting is None) or (confirmed and deleting is None):
            return self._conclude_slowly(unit, confirmed, owner)
        if confirmed:
            crash_point("participant.delete.before")
            crash_point("participant.delete.after")
        crash_point("participant.commit.before")
        statements = [*unit.last, *filter(None, (inserting, deleting))]
        try:
            with store.naming_tables():
                told = commit_with(connection, statements)
        except DBAPIError as error:
            if undecided(error):
                raise CommitUnknown(description(self._engine, error)) from error
            raise as_told(error) from error
        if told is None:
            return self._conclude_slowly(unit, confirmed, owner)
        if inserting is None:
            return []
        return _rows(unit.messages, sorted(row[0] for row in told[len(unit.last)].rows))

    def _conclude_slowly(self, unit: Unit, confirmed: list[int], owner: UUID | None) -> list[OutboxRow]:
        """As `_conclude`, a statement at a time; the COMMIT is left to whoever began."""
        connection = unit.connection
        try:
            for statement in unit.last:
                connection.exec_driver_sql(*statement)
        except DBAPIError as error:
            raise as_told(error) from error
        ids = self._store.insert(connection, unit.messages, owner=owner)
        if confirmed:
            crash_point("participant.delete.before")
            self._store.delete(connection, confirmed)
            crash_point("participant.delete.after")
        crash_point("participant.commit.before")
        return _rows(unit.messages, ids)


def _rows(messages: Sequence[Message], ids: Sequence[int]) -> list[OutboxRow]:
    now = datetime.now(UTC)
    return [OutboxRow(id_, message, now) for id_, message in zip(ids, messages, strict=True)]


def as_told(error: DBAPIError) -> Exception:
    """What it means that the last statements failed: that the handler ended our transaction, or what it says."""
    return HandlerEndedTransaction(SAVEPOINT_GONE) if ended_by_handler(error) else error
