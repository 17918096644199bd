"""What a sender writes to the database itself: what nobody else deleted, and what it gives to the sweep."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Engine

from amends.db.crashpoints import crash_point
from amends.db.engines import transaction
from amends.outbox.backoff import Backoff
from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.holdings import Holdings
from amends.outbox.storage import HandBack
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)


class Settling:
    """Gathers what became of rows, and writes it in transactions of its own. Owned by the sender's thread.

    While the database is away it keeps what it gathered, and tries again with back-off.
    """

    def __init__(
        self,
        database: Engine,
        store: OutboxStore,
        holdings: Holdings,
        scope: Literal["coordinator", "participant"],
        idle_s: float,
    ) -> None:
        self._database = database
        self._store = store
        self._holdings = holdings
        self._scope = scope
        self._idle_s = idle_s
        self._sent: list[int] = []
        self._given_up: dict[HandBack, list[int]] = {}
        self._backoff = Backoff(0.1, 5.0)
        self._not_before = 0.0

    def sent(self, ids: Sequence[int]) -> None:
        """Confirmed, and to wait for their receipts."""
        self._sent.extend(ids)

    def give_up(self, ids: Sequence[int], how: HandBack) -> None:
        """To be given to the sweep."""
        if ids:
            self._given_up.setdefault(how, []).extend(ids)

    def due_s(self, now: float) -> float | None:
        """In how many seconds there is something to write; None: nothing is known of yet."""
        due = now if self._sent or self._given_up else None
        since = self._holdings.confirmed_since()
        if since is not None:
            due = since + self._idle_s if due is None else due
        return None if due is None else max(0.0, max(due, self._not_before) - now)

    def settle(self, *, confirmed_too: bool = False) -> bool:
        """Write what is due, in one transaction; `confirmed_too`: also what was confirmed just now.

        Whether nothing is left to write.
        """
        since = self._holdings.confirmed_since()
        idle = since is not None and time.monotonic() - since >= self._idle_s
        confirmed = self._holdings.take() if idle or confirmed_too else []
        if not (confirmed or self._sent or self._given_up):
            return True
        if confirmed:
            crash_point(f"{self._scope}.delete.before")
        try:
            # One transaction: rows the broker has go, the others become the sweep's.
            with transaction(self._database) as connection:
                self._store.delete(connection, confirmed)
                self._store.mark_sent(connection, self._sent)
                for how, ids in self._given_up.items():
                    self._store.disown(
                        connection, ids, how.delay_s, how.error, counts=how.counts, returned=how.returned
                    )
        except DATABASE_FAULTS as error:
            # All of it may be written twice: nothing is forgotten until it is known to have committed.
            self._holdings.give_back(confirmed)
            self._not_before = time.monotonic() + self._backoff.next_s()
            log.warning("outbox_settle_failed", extra={"error": told(error)})
            return False
        self._holdings.done(
            [*confirmed, *self._sent, *(id_ for ids in self._given_up.values() for id_ in ids)]
        )
        self._sent.clear()
        self._given_up.clear()
        self._backoff.reset()
        self._not_before = 0.0
        if confirmed:
            crash_point(f"{self._scope}.delete.after")
        return True
