"""Several worker processes under one parent that restarts those that die."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from amends.outbox.backoff import Backoff

log = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_KILL_AFTER_S: Final = 10.0  # beyond the grace: the children flush what they have committed
_STEADY_S: Final = 10.0
_RESTART_FIRST_S: Final = 0.2
_RESTART_LONGEST_S: Final = 10.0


class Supervisor:
    """Forks `count` children, each running `child(number)`, and keeps that many alive until a signal comes.

    SIGTERM and SIGINT are passed on; children that have not gone `grace_s` later, and some, are killed. Fork it
    before there are threads.
    """

    def __init__(
        self,
        count: int,
        child: Callable[[int], int],
        *,
        grace_s: float,
        on_death: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        """`on_death` is told the process id of each child that has ended."""
        self._count = count
        self._child = child
        self._grace_s = grace_s
        self._on_death = on_death
        self._stop_asked = threading.Event()
        self._children: dict[int, tuple[int, float]] = {}  # pid: number, when it started

    def run(self) -> int:
        """Supervise until told to stop; 0 if every child went in peace."""
        previous = {name: signal.signal(name, self._on_signal) for name in (signal.SIGTERM, signal.SIGINT)}
        backoff = Backoff(_RESTART_FIRST_S, _RESTART_LONGEST_S)
        try:
            for number in range(self._count):
                self._fork(number)
            while not self._stop_asked.wait(_POLL_S):
                for number, lived_s, status in self._buried():
                    if lived_s > _STEADY_S:
                        backoff.reset()
                    wait_s = backoff.next_s()
                    log.error("worker_died", extra={"worker": number, "status": status, "again_in_s": wait_s})
                    if not self._stop_asked.wait(wait_s):
                        self._fork(number)
            return self._end()
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)

    def _fork(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self._children[pid] = (number, time.monotonic())
            return
        status = 1
        try:
            status = self._child(number)
        except BaseException:
            log.exception("worker_failed", extra={"worker": number})
        finally:
            logging.shutdown()
            os._exit(status)

    def _buried(self) -> list[tuple[int, float, int]]:
        """The children that ended: number, how long they lived in seconds, exit status (below 0: a signal)."""
        gone = []
        for pid, (number, since) in list(self._children.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._children[pid]
                self._on_death(pid)
                gone.append((number, time.monotonic() - since, os.waitstatus_to_exitcode(status)))
        return gone

    def _end(self) -> int:
        deadline = time.monotonic() + self._grace_s + _KILL_AFTER_S
        statuses: list[int] = []
        self._signal(signal.SIGTERM)
        while self._children and time.monotonic() < deadline:
            statuses += [status for _, _, status in self._buried()]
            time.sleep(_POLL_S / 2)
        self._signal(signal.SIGKILL)
        while self._children:
            statuses += [status for _, _, status in self._buried()]
            time.sleep(_POLL_S / 2)
        return 0 if not any(statuses) else 1

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._children:
            os.kill(pid, number)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked.set()
