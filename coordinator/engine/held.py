"""Which starts of suspended sagas were counted: each once, however often it comes again (S2)."""

from __future__ import annotations

from typing import Final

STARTS_MAX: Final = 10_000


class HeldStarts:
    """Tells a held start that is new from one that comes again. One per coordinator; the decider's thread only.

    A sender asks again with back-off, a schedule every few seconds: what is counted is what waits, not how it asks.
    Of more than `starts_max` the oldest are forgotten, and would count again.
    """

    def __init__(self, starts_max: int = STARTS_MAX) -> None:
        self._starts_max = starts_max
        self._counted: dict[str, None] = {}  # saga ids, oldest first

    def is_new(self, saga_id: str) -> bool:
        """Whether this start is held for the first time, as far as this coordinator knows; from now on it is not."""
        if saga_id in self._counted:
            return False
        if len(self._counted) >= self._starts_max:
            del self._counted[next(iter(self._counted))]
        self._counted[saga_id] = None
        return True
