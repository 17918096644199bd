"""A worker's transactions: the only ones that hold a barrier row, an effect and a reply (B1).

Now and then one also deletes the outbox rows that the broker has confirmed (O2).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine

from amends.db.crashpoints import crash_point
from amends.db.engines import transaction
from amends.db.errors import CommitUnknown
from amends.outbox.message import Message, OutboxRow
from amends.outbox.sender import Sender
from amends.outbox.store import OutboxStore
from amends.participants.barrier.answers import Answer

_DELETE_EVERY_S: Final = 0.01


class Unwritten(Exception):
    """Carries an answer out of a transaction that wrote nothing and need not commit."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.outcome)
        self.answer = answer


class Unit:
    """One open transaction, and the messages that leave if it commits."""

    __slots__ = ("connection", "messages")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: list[Message] = []


class Transactions:
    """Opens the transactions of one worker process."""

    def __init__(self, engine: Engine, store: OutboxStore, sender: Sender) -> None:
        self._engine = engine
        self._store = store
        self._sender = sender
        self._delete_at = 0.0

    @contextmanager
    def begin(self) -> Iterator[Unit]:
        """One transaction: what the block does, its messages' outbox rows, and the deletion of confirmed rows.

        Once it is known to have committed, its messages are published from memory. If its COMMIT is of unknown
        outcome, nothing is published: the sweep and a redelivery decide (O3).

        Raises: StoreUnavailable, CommitUnknown, MessageTooLarge, and what the block raises: nothing happened then.
        """
        confirmed: list[int] = []
        rows: list[OutboxRow] = []
        try:
            with transaction(self._engine) as connection:
                unit = Unit(connection)
                yield unit
                rows = self._store_messages(unit)
                confirmed = self._delete_confirmed(connection)
                crash_point("participant.commit.before")
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

    def _store_messages(self, unit: Unit) -> list[OutboxRow]:
        if not unit.messages:
            return []
        # Read inside the transaction: after a COMMIT of unknown outcome it is another one (O2).
        ids = self._store.insert(unit.connection, unit.messages, owner=self._sender.owner)
        now = datetime.now(UTC)
        return [OutboxRow(id_, message, now) for id_, message in zip(ids, unit.messages, strict=True)]

    def _delete_confirmed(self, connection: Connection) -> list[int]:
        # Many at once cost hardly more than one; what nobody takes for longer, the sender deletes itself.
        now = time.monotonic()
        if now < self._delete_at:
            return []
        self._delete_at = now + _DELETE_EVERY_S
        confirmed = self._sender.take_confirmed()
        if confirmed:
            try:
                crash_point("participant.delete.before")
                self._store.delete(connection, confirmed)
                crash_point("participant.delete.after")
            except BaseException:
                self._sender.give_back(confirmed)
                raise
        return confirmed
