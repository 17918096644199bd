"""Noticing commands that run over their time limit: a thread cannot be stopped from outside, but it can be told of."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amends.outbox.ports import Delivery

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lap:
    delivery: Delivery
    since: float
    limit_s: float
    told: bool = False


class Stopwatch:
    """Times the commands of all lanes. Thread-safe."""

    def __init__(self, limit_s: float, on_overdue: Callable[[], None]) -> None:
        """`on_overdue` is called once for every command that runs over the limit, by whoever calls `check`."""
        self.limit_s = limit_s
        self._on_overdue = on_overdue
        self._laps: dict[int, _Lap] = {}

    @contextmanager
    def timing(self, delivery: Delivery) -> Iterator[None]:
        """While this thread deals with this message."""
        thread = threading.get_ident()
        self._laps[thread] = _Lap(delivery, time.monotonic(), self.limit_s)
        try:
            yield
        finally:
            del self._laps[thread]

    @contextmanager
    def running(self, delivery: Delivery, limit_s: float | None) -> Iterator[None]:
        """While this thread runs a handler with a limit of its own, which counts instead; None: it has none."""
        if limit_s is None:
            yield
            return
        thread = threading.get_ident()
        around = self._laps.get(thread)
        self._laps[thread] = _Lap(delivery, time.monotonic(), limit_s)
        try:
            yield
        finally:
            if around is None:
                del self._laps[thread]
            else:
                # What it has taken is not the others' of its batch.
                around.since = time.monotonic()
                self._laps[thread] = around

    def check(self) -> None:
        """Tell of commands that have run over the limit since the last check."""
        now = time.monotonic()
        for lap in tuple(self._laps.values()):
            if now - lap.since > lap.limit_s and not lap.told:
                lap.told = True
                log.error(
                    "handler_overdue",
                    extra={
                        "saga": lap.delivery.correlation_id,
                        "message_id": lap.delivery.message_id,
                        "queue": lap.delivery.queue,
                        "limit_s": lap.limit_s,
                    },
                )
                self._on_overdue()
