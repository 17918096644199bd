"""What a worker does now and then: look for overdue handlers, forget old barrier rows and lapsed waits."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable
from amends.participants.barrier.pruning import prune
from amends.participants.locks.store import LockStore
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_PRUNE_EVERY_S: Final = 3_600.0


class Housekeeping:
    """One thread."""

    def __init__(
        self,
        engine: Engine,
        stopwatch: Stopwatch,
        gate: DatabaseGate,
        retention_s: float,
        locks: LockStore,
    ) -> None:
        self._locks = locks
        self._engine = engine
        self._stopwatch = stopwatch
        self._gate = gate
        self._retention_s = retention_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="amends-housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, at the latest after the statement under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        # Workers that start together need not prune together.
        prune_at = time.monotonic() + _PRUNE_EVERY_S * random.random()
        while not self._stopping.wait(_TICK_S):
            self._stopwatch.check()
            if time.monotonic() >= prune_at and self._gate.is_open:
                prune_at = time.monotonic() + _PRUNE_EVERY_S
                self._prune()

    def _prune(self) -> None:
        total = 0
        self._sweep_locks()
        try:
            while not self._stopping.is_set():
                with transaction(self._engine) as connection:
                    rows = prune(connection, self._retention_s)
                if not rows:
                    break
                total += rows
        except StoreUnavailable as error:
            self._gate.shut(error)
        except Exception:
            log.exception("barrier_not_pruned")
        if total:
            log.info("barrier_pruned", extra={"rows": total})

    def _sweep_locks(self) -> None:
        try:
            with transaction(self._engine) as connection:
                self._locks.sweep(connection)
        except StoreUnavailable as error:
            self._gate.shut(error)
        except Exception:
            log.exception("locks_not_swept")
