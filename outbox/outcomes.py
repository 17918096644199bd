"""What became of the rows a sweep published, gathered and written together."""

from __future__ import annotations

import time

from sqlalchemy import Engine

from amends.db.crashpoints import crash_point
from amends.db.pipelines import unflushed
from amends.outbox.message import OutboxRow
from amends.outbox.observer import OutboxObserver
from amends.outbox.storage import HandBack
from amends.outbox.store import OutboxStore


class Outcomes:
    """Owned by the sweep's thread. What could not be written is kept: writing it twice is harmless."""

    def __init__(self, database: Engine, store: OutboxStore, observer: OutboxObserver) -> None:
        self._database = database
        self._store = store
        self._observer = observer
        self._gone: list[int] = []
        self._sent: list[int] = []
        self._parked: dict[str, list[int]] = {}
        self._handed_back: dict[HandBack, list[int]] = {}
        self._known: set[int] = set()
        self._ordered = False
        self._not_before = 0.0
        self._since: float | None = None

    @property
    def count(self) -> int:
        """How many rows are to be written."""
        return len(self._known)

    @property
    def since(self) -> float | None:
        """Since when there is something to write, or from when on it may be tried; None: there is nothing."""
        return None if self._since is None else max(self._since, self._not_before)

    def has(self, row_id: int) -> bool:
        """Whether what became of this row is known, and not written yet."""
        return row_id in self._known

    def confirmed(self, row: OutboxRow) -> None:
        """The broker has it: it goes, or waits for its receipt (O1)."""
        (self._sent if row.message.needs_receipt else self._gone).append(row.id)
        self._ordered = self._ordered or row.message.key is not None
        self._counted(row)

    def parked(self, row: OutboxRow, error: str) -> None:
        """It needs an operator."""
        self._parked.setdefault(error, []).append(row.id)
        self._counted(row)

    def handed_back(self, row: OutboxRow, how: HandBack) -> None:
        """It is to be tried again."""
        self._handed_back.setdefault(how, []).append(row.id)
        self._counted(row)

    def wait_until(self, moment: float) -> None:
        """Try no more before this moment of the monotonic clock."""
        self._not_before = moment

    def write(self) -> bool:
        """Write everything in one transaction. Whether another row of an ordering key may go now.

        Raises: StoreUnavailable, DBAPIError; then everything is still here.
        """
        if self._since is None:
            return False
        if self._gone or self._sent:
            crash_point("relay.delete.before")
        # One transaction: what the broker has goes or is marked sent, the rest is parked or due again. If it is lost,
        # these rows are due again, at the latest when their leases end.
        with unflushed(self._database) as connection:
            self._store.delete(connection, self._gone)
            self._store.mark_sent(connection, self._sent)
            for error, ids in self._parked.items():
                self._store.park(connection, ids, error)
            for how, ids in self._handed_back.items():
                self._store.release(
                    connection, ids, how.delay_s, how.error, counts=how.counts, returned=how.returned
                )
        if self._gone or self._sent:
            crash_point("relay.delete.after")
        if self._parked:
            self._observer.parked(sum(map(len, self._parked.values())))
        ordered = self._ordered
        self._gone, self._sent, self._parked, self._handed_back = [], [], {}, {}
        self._ordered, self._since, self._not_before = False, None, 0.0
        self._known.clear()
        return ordered

    def _counted(self, row: OutboxRow) -> None:
        self._known.add(row.id)
        if self._since is None:
            self._since = time.monotonic()
