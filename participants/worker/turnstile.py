"""Lets the commands of limited handlers through: so many at once, so many in a window of time, in the order they came.

arrive --room--> through --left--> (the next ones through)
   |--no room--> held --room--> through
   |               '--held for long--> turned away
   '--too many held--> turned away: answered `failed`, unspent, with the time at which its turn is likely

What is held takes a place of the prefetch and no thread. At most half of the prefetch is held, so that the other
handlers of the queue always have room, and for a few seconds only: a step's timeout runs meanwhile (M4, B8).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from amends.participants.limits import Limits

T = TypeVar("T")

HOLD_S: Final = 5.0
_WEIGHT: Final = 0.2
_FIRST_GUESS_S: Final = 1.0
_AWAY_FIRST_S: Final = 0.5
_AWAY_LONGEST_S: Final = 60.0


@dataclass(slots=True)
class Moved(Generic[T]):
    """What may go on now, and what is turned away, each for so many seconds."""

    through: list[T] = field(default_factory=list)
    away: list[tuple[T, float]] = field(default_factory=list)


class _Line(Generic[T]):
    """One handler's commands. Under the turnstile's lock."""

    def __init__(self, limits: Limits) -> None:
        self._concurrency = limits.concurrency
        self._rate = limits.rate
        self._began: deque[float] = deque(maxlen=limits.rate.count if limits.rate else 1)
        self._due_back: deque[float] = deque()  # when those that were turned away were told to come again
        self._took_s = _FIRST_GUESS_S
        self.inside = 0
        self.held: deque[tuple[T, Hashable, float]] = deque()

    def has_room(self, now: float) -> bool:
        if self._concurrency is not None and self.inside >= self._concurrency:
            return False
        return self.rate_wait_s(0, now) <= 0

    def begin(self, now: float) -> None:
        self.inside += 1
        if self._rate is not None:
            self._began.append(now)

    def end(self, took_s: float) -> None:
        self.inside -= 1
        self._took_s += _WEIGHT * (took_s - self._took_s)

    def rate_wait_s(self, ahead: int, now: float) -> float:
        """How long until the rate lets one begin that has so many before it."""
        if self._rate is None or len(self._began) + ahead < self._rate.count:
            return 0.0
        windows, place = divmod(len(self._began) + ahead - self._rate.count, self._rate.count)
        since = self._began[place] if place < len(self._began) else now
        return since + (windows + 1) * self._rate.window_s - now

    def away_for_s(self, now: float) -> float:
        """How long one that is turned away now is to stay away: behind all that wait, here or elsewhere."""
        while self._due_back and self._due_back[0] <= now:
            self._due_back.popleft()
        ahead = len(self.held) + len(self._due_back)
        by_rate = self.rate_wait_s(ahead, now)
        by_number = 0.0 if self._concurrency is None else (ahead + 1) * self._took_s / self._concurrency
        seconds = min(max(by_rate, by_number, _AWAY_FIRST_S), max(by_rate, _AWAY_LONGEST_S))
        self._due_back.append(max(now + seconds, self._due_back[-1] if self._due_back else 0.0))
        return round(seconds, 3)


class Turnstile(Generic[T]):
    """For one queue; `T` is whatever stands for a command. Thread-safe."""

    def __init__(
        self,
        limits: Mapping[str, Limits],
        *,
        held_max: int,
        hold_s: float = HOLD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits` by command; one without a limit on number or rate passes freely."""
        self._lines: dict[str, _Line[T]] = {name: _Line(one) for name, one in limits.items() if one.queued}
        self._held_max = held_max
        self._hold_s = hold_s
        self._clock = clock
        self._held = 0
        self._inside: dict[Hashable, tuple[str, float]] = {}
        self._lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether nothing is held."""
        return self._held == 0

    def limits(self, command: str) -> bool:
        """Whether this command's handler has a line here."""
        return command in self._lines

    def arrive(self, item: T, command: str, key: Hashable) -> Moved[T]:
        """One has come: what becomes of it. `key` is what `left` will know it by."""
        moved: Moved[T] = Moved()
        with self._lock:
            line, now = self._lines[command], self._clock()
            if not line.held and line.has_room(now):
                self._begin(line, command, key, now)
                moved.through.append(item)
            elif self._held < self._held_max:
                line.held.append((item, key, now))
                self._held += 1
            else:
                moved.away.append((item, line.away_for_s(now)))
        return moved

    def left(self, key: Hashable) -> Moved[T]:
        """One that was let through is dealt with, or dropped: who may go on now. Others change nothing."""
        with self._lock:
            entered = self._inside.pop(key, None)
            if entered is None:
                return Moved()
            now = self._clock()
            self._lines[entered[0]].end(now - entered[1])
            return self._move(now)

    def tick(self) -> Moved[T]:
        """Time has passed: who may go on now, and who has been held for too long."""
        with self._lock:
            return self._move(self._clock())

    def forget_held(self) -> None:
        """The broker has taken back what is held, and delivers it again."""
        with self._lock:
            for line in self._lines.values():
                line.held.clear()
            self._held = 0

    def _move(self, now: float) -> Moved[T]:
        moved: Moved[T] = Moved()
        for command, line in self._lines.items() if self._held else ():
            while line.held and line.has_room(now):
                item, key, _ = line.held.popleft()
                self._held -= 1
                self._begin(line, command, key, now)
                moved.through.append(item)
            while line.held and now - line.held[0][2] >= self._hold_s:
                item, _, _ = line.held.popleft()
                self._held -= 1
                moved.away.append((item, line.away_for_s(now)))
        return moved

    def _begin(self, line: _Line[T], command: str, key: Hashable, now: float) -> None:
        line.begin(now)
        self._inside[key] = (command, now)
