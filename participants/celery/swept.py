"""Messages of a process that publishes nothing itself: rows without an owner, which a relay sweeps within 200 ms (O2).

A Celery worker forks, and is killed by its time limits: threads and connections of ours have no place in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore


class Swept:
    """A `Post` that leaves everything to the relay of its database."""

    owner = None

    def __init__(self, engine: Engine, store: OutboxStore) -> None:
        self._engine = engine
        self._store = store

    def send(self, messages: Sequence[Message]) -> None:
        """Messages of no transaction get one. Raises: StoreUnavailable, CommitUnknown."""
        with transaction(self._engine) as connection:
            self._store.insert(connection, messages, owner=None)

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Nothing: they have no owner."""

    def take_confirmed(self) -> list[int]:
        """None: the relay deletes what it sends."""
        return []

    def deleted(self, ids: Sequence[int]) -> None:
        """Nothing: see `take_confirmed`."""

    def give_back(self, ids: Sequence[int]) -> None:
        """Nothing: see `take_confirmed`."""

    def renew_owner(self) -> None:
        """Nothing: there is none. A row of unknown outcome is swept if it is there (O3)."""
