"""The rows a sender answers for, from the commit until it is known that they are deleted or given to the sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable


class Holdings:
    """Thread-safe.

    offered --> confirmed --taken by a transaction--> deleted
                    ^                |
                    +---given back---+
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[int] = set()
        self._confirmed: list[int] = []
        self._since: float | None = None

    def add(self, ids: Iterable[int]) -> None:
        """These rows are committed, and ours to publish."""
        with self._lock:
            self._held.update(ids)

    def confirmed(self, ids: Iterable[int]) -> None:
        """The broker has these: the next transaction may delete them."""
        with self._lock:
            self._confirmed.extend(ids)
            if self._confirmed and self._since is None:
                self._since = time.monotonic()

    def take(self) -> list[int]:
        """The confirmed rows, for one transaction to delete; then say `done` or `give_back`."""
        with self._lock:
            taken, self._confirmed = self._confirmed, []
            self._since = None
            return taken

    def give_back(self, ids: Iterable[int]) -> None:
        """The transaction that was to delete these is not known to have committed."""
        self.confirmed(ids)

    def done(self, ids: Iterable[int]) -> None:
        """These are deleted, marked sent, or the sweep's: no longer ours."""
        with self._lock:
            self._held.difference_update(ids)

    def all(self) -> list[int]:
        """Every row that is still ours."""
        with self._lock:
            return sorted(self._held)

    def confirmed_since(self) -> float | None:
        """When the oldest confirmed row that nobody took was confirmed, by the monotonic clock."""
        with self._lock:
            return self._since
