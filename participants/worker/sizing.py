"""How many commands a thread takes at once: many while that goes well, few where commands take long or raise (B7)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

# What a batch does holds its locks until its end, and no other thread can help with it.
_BATCH_S: Final = 0.05
# Two transactions that lock the same rows crosswise cost a second or more: not to be met again soon.
_PAUSE_S: Final = 10.0
_WEIGHT: Final = 0.2


class BatchSize:
    """The size of a lane's batches, between 1 and `most`. Thread-safe.

    A batch that was taken apart halves it, each full one that was not adds one. None is to take longer than about
    50 ms, by what handlers took lately.
    """

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._size = most
        self._each_s = 0.0  # how long a handler took lately, on the average
        self._paused_until = 0.0

    @property
    def limit(self) -> int:
        """How many commands to take now."""
        if self._most == 1:
            return 1
        if self._paused_until and self._clock() < self._paused_until:
            return 1
        in_time = int(_BATCH_S / self._each_s) if self._each_s else self._size
        return max(1, min(self._size, in_time))

    def ran(self, seconds: float) -> None:
        """A handler took so long: without the waits that a batch shares, such as its COMMIT's."""
        with self._lock:
            self._each_s += _WEIGHT * (seconds - self._each_s) if self._each_s else seconds

    def took(self, limit: int, commands: int) -> None:
        """A thread was given `limit`, and has dealt with so many commands."""
        with self._lock:
            if commands >= limit == self._size:
                self._size = min(self._most, self._size + 1)

    def taken_apart(self, *, crosswise: bool) -> None:
        """A batch was not done; `crosswise`: since it met another transaction's locks."""
        with self._lock:
            self._size = max(1, self._size // 2)
            if crosswise:
                self._paused_until = self._clock() + _PAUSE_S
