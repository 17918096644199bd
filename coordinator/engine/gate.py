"""Which command queues are open just now: windows (E4) and breakers (M6), as far as this coordinator knows.

The truth is in the database: counts of steps and rows of breakers, read about once a second by the keeper. In
between this coordinator adds what its own batches changed. So several coordinators may overshoot a window by what
they send within a second, never by more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from amends.coordinator.saga.state import Op, Phase, Step, queue_of

_Move: TypeAlias = tuple[str, int, int]  # queue, how many more are out, how many more parked


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """One breaker as stored. `closed_ms`: attempts sent before it do not count as timeouts (M6)."""

    open: bool
    closed_ms: int


def _out(step: Step) -> bool:
    return step.op is Op.DO and step.phase in (Phase.AWAITING, Phase.BACKOFF)


class Gate:
    """Windows and breakers in memory. Thread-safe: the decider writes, the keeper refreshes."""

    def __init__(self, *, window: int, breaker_failures: int) -> None:
        self._window = window
        self._failures_max = breaker_failures
        self._lock = Lock()
        self._out: Counter[str] = Counter()
        self._parked: Counter[str] = Counter()
        self._breakers: dict[str, BreakerRow] = {}
        self._failures: Counter[str] = Counter()
        self._to_open: set[str] = set()
        self._to_close: set[str] = set()
        self._held: frozenset[str] | None = None
        # What the batch under way has moved, and what was moved since a refresh began: the refresh's query may
        # not see either, or may. For a second what went out is counted twice rather than missed, and what came back
        # is missed rather than counted twice: either mistake the other way round would overfill the window.
        self._under_way: list[_Move] = []
        self._since_refresh: list[_Move] | None = None

    def held(self) -> frozenset[str]:
        """The queues to which nothing new may go."""
        with self._lock:
            if self._held is None:
                full = {
                    queue
                    for queue in self._out.keys() | self._parked.keys()
                    if queue.endswith(".do") and self._out[queue] + self._parked[queue] >= self._window
                }
                self._held = frozenset(full | {queue for queue, row in self._breakers.items() if row.open})
            return self._held

    def is_open(self, queue: str) -> bool:
        """Is this queue's breaker open, so that nothing of it is retried or given up?"""
        row = self._breakers.get(queue)
        return row is not None and row.open

    def counts_timeout(self, queue: str, sent_ms: int) -> bool:
        """Does a timeout of an attempt sent then count, or was it sent before the breaker last closed (M6)?"""
        row = self._breakers.get(queue)
        return row is None or sent_ms >= row.closed_ms

    def timed_out(self, queue: str) -> None:
        """One more timeout without a reply in between; enough of them open the breaker."""
        with self._lock:
            self._failures[queue] += 1
            row = self._breakers.get(queue)
            if self._failures[queue] >= self._failures_max and not (row and row.open):
                self._breakers[queue] = BreakerRow(open=True, closed_ms=row.closed_ms if row else 0)
                self._to_open.add(queue)
                self._to_close.discard(queue)
                self._held = None

    def replied(self, queue: str, now_ms: int) -> bool:
        """Any reply closes (M6). True if the breaker was open."""
        with self._lock:
            if self._failures[queue]:
                self._failures[queue] = 0
            row = self._breakers.get(queue)
            if row is None or not row.open:
                return False
            self._breakers[queue] = BreakerRow(open=False, closed_ms=now_ms)
            self._to_close.add(queue)
            self._to_open.discard(queue)
            self._held = None
            return True

    def take_decisions(self) -> tuple[set[str], set[str]]:
        """The breakers to be stored as open and as closed since the last call."""
        with self._lock:
            opened, closed = self._to_open, self._to_close
            self._to_open, self._to_close = set(), set()
            return opened, closed

    def put_back(self, opened: set[str], closed: set[str]) -> None:
        """Decisions that could not be stored."""
        with self._lock:
            self._to_open |= opened - self._to_close
            self._to_close |= closed - self._to_open

    def moved(self, before: Step | None, after: Step | None) -> None:
        """A batch changed this step; a batch that fails says so the other way round."""
        with self._lock:
            for step, sign in ((before, -1), (after, 1)):
                if step is not None:
                    queue, out, parked = footprint(step)
                    if out or parked:
                        move = (queue, sign * out, sign * parked)
                        self._under_way.append(move)
                        if self._since_refresh is not None:
                            self._since_refresh.append(move)
                        self._add(move)

    def batch_over(self) -> None:
        """The batch under way is committed, or was taken back: from now on a query sees what it did."""
        with self._lock:
            self._under_way.clear()

    def _add(self, move: _Move) -> None:
        queue, out, parked = move
        self._out[queue] += out
        self._parked[queue] += parked
        # `held` is asked once per event: forget it only when a queue crosses its limit.
        if self._held is not None and queue.endswith(".do"):
            full = self._out[queue] + self._parked[queue] >= self._window
            if full != (queue in self._held) and not self.is_open(queue):
                self._held = None

    def begin_refresh(self) -> None:
        """The database is about to be asked."""
        with self._lock:
            self._since_refresh = list(self._under_way)

    def refresh(
        self, out: Mapping[str, int], parked: Mapping[str, int], breakers: Mapping[str, BreakerRow]
    ) -> None:
        """What the database says, and what it could not know yet. Decisions not stored yet stand."""
        with self._lock:
            self._out, self._parked = Counter(out), Counter(parked)
            for queue, more_out, more_parked in self._since_refresh or ():
                self._add((queue, max(more_out, 0), max(more_parked, 0)))
            self._since_refresh = None
            for queue, row in breakers.items():
                if not row.open and self.is_open(queue):
                    self._failures.pop(queue, None)  # Another coordinator closed it: count from there.
            undecided = {queue: self._breakers[queue] for queue in self._to_open | self._to_close}
            self._breakers = {**breakers, **undecided}
            self._held = None

    def room(self, queue: str) -> int:
        """How many parked commands of this queue may be sent now."""
        with self._lock:
            row = self._breakers.get(queue)
            if row is not None and row.open:
                return 0
            if not queue.endswith(".do"):
                return self._window
            return max(0, self._window - self._out[queue])

    def parked(self) -> dict[str, int]:
        """How many commands wait, per queue."""
        with self._lock:
            return {queue: count for queue, count in self._parked.items() if count > 0}

    def open_queues(self) -> list[str]:
        """The queues whose breaker is open."""
        with self._lock:
            return [queue for queue, row in self._breakers.items() if row.open]


def footprint(step: Step) -> tuple[str, int, int]:
    """What a step takes up: its queue, whether it is out there, whether it is parked there (as 0 or 1)."""
    return queue_of(step.participant, step.op), int(_out(step)), int(step.phase is Phase.PARKED)
