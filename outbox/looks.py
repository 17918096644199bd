"""How often a sweep looks for due rows: soon where rows were found lately, seldom where there were none."""

from __future__ import annotations

from typing import Final

from amends.outbox.backoff import Backoff

# Services put starts one at a time: what comes next comes sooner than this, or nobody waits for it.
_LULL_S: Final = 0.1


class Looks:
    """Pauses between looks: `first_s` until nothing was found for 0.1 seconds, then doubling to `longest_s`."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._later = Backoff(2 * first_s, longest_s)
        self._found_at = float("-inf")

    def next_s(self, now: float, *, found: bool) -> float:
        """How many seconds to wait after a look at `now`, which `found` rows or did not."""
        if found:
            self._found_at = now
            self._later.reset()
        return self._first_s if now - self._found_at <= _LULL_S else self._later.next_s()
