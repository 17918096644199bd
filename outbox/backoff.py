"""Waiting longer after each failure in a row."""

from __future__ import annotations

from random import SystemRandom
from typing import Final

_SPREAD: Final = 0.2
# Not Python's shared one: who seeds that, as a service's tests may, is not to have it moved on by our threads.
_random: Final = SystemRandom()


class Backoff:
    """Delays that double from `first_s` to `longest_s`, each spread by a fifth: replicas do not march in step."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def next_s(self) -> float:
        """How many seconds to wait after one more failure."""
        delay = after(self._failures, self._first_s, self._longest_s)
        self._failures += 1
        return delay * _random.uniform(1 - _SPREAD, 1)

    def reset(self) -> None:
        """It works again."""
        self._failures = 0


def after(failures: int, first_s: float, longest_s: float) -> float:
    """The delay after so many failures in a row, unspread."""
    return min(longest_s, first_s * 2.0 ** min(failures, 30))
