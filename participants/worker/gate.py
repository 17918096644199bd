"""Whether the database can be reached. While it cannot, no consumer holds messages (B8)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import DBAPIError

from amends.db.errors import DatabaseError
from amends.outbox.backoff import Backoff
from amends.outbox.faults import told

log = logging.getLogger(__name__)

_FIRST_S: Final = 0.2
_LONGEST_S: Final = 5.0


class DatabaseGate:
    """Shut by whoever finds the database away; opens by itself once `probe` succeeds. Thread-safe."""

    def __init__(self, probe: Callable[[], None]) -> None:
        """`probe` returns if the database can be used, and raises a DatabaseError or DBAPIError if not."""
        self._probe = probe
        self._away = threading.Event()
        self._probing = threading.Lock()
        self._backoff = Backoff(_FIRST_S, _LONGEST_S)
        self._on_shut: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether the database was there when it was last used."""
        return not self._away.is_set()

    def on_shut(self, callback: Callable[[], None]) -> None:
        """Call this, from any thread, whenever the gate is shut."""
        self._on_shut.append(callback)

    def shut(self, error: Exception) -> None:
        """The database is away."""
        if self._away.is_set():
            return
        self._away.set()
        log.warning("database_away", extra={"error": str(error)})
        for callback in self._on_shut:
            callback()

    def wait(self, stopping: threading.Event) -> None:
        """Wait until the database is there, asking now and then, or until `stopping` is set."""
        while self._away.is_set() and not stopping.is_set():
            with self._probing:
                if not self._away.is_set():
                    return
                try:
                    self._probe()
                except (DatabaseError, DBAPIError) as error:
                    log.warning("database_still_away", extra={"error": told(error)})
                    stopping.wait(self._backoff.next_s())
                else:
                    self._backoff.reset()
                    self._away.clear()
                    log.info("database_back")
