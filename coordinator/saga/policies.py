"""Retry policies: when a command that failed or stayed silent is sent again, and when it is given up (M5)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from amends.coordinator.saga.durations import DAY, SECOND
from amends.coordinator.saga.json import Json

TIMEOUT: Final = 30 * SECOND
WITHIN: Final = DAY
RETRY_AFTER_MAX: Final = DAY

# A delay is shortened by up to this share, so that what failed together does not come again together.
_JITTER: Final = 0.2
# Past this many doublings every delay is `longest`; a larger power could overflow.
_POWER_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The n-th counted failure is followed by a pause of `first * factor**(n-1)` ms, at most `longest`.

    `limit` is how often it is tried again, `within` for how many ms from when it was first wanted; None is
    without end: a forward step before the pivot is then tried until the saga's deadline.
    """

    first: int = SECOND
    factor: float = 2
    longest: int = 60 * SECOND
    limit: int | None = None
    within: int | None = None

    def pause(self, failures: int, seed: str, at_least: int = 0) -> int:
        """How many ms to wait after this many counted failures; `seed` picks the jitter, always the same one."""
        longest = min(self.longest, self.first * self.factor ** min(max(failures - 1, 0), _POWER_MAX))
        return max(1, round(longest * (1 - _JITTER * _share(seed))), min(at_least, RETRY_AFTER_MAX))

    def gives_up(self, failures: int, since: int, next_try: int) -> bool:
        """Whether a try at `next_try` would be one too many, or come too late."""
        if self.limit is not None and failures > self.limit:
            return True
        return self.within is not None and next_try > since + self.within

    def to_json(self) -> dict[str, Json]:
        """The stored form: durations in ms."""
        return {
            "first": self.first,
            "factor": self.factor,
            "longest": self.longest,
            "limit": self.limit,
            "within": self.within,
        }


def _share(seed: str) -> float:
    """A number from 0 up to 1 that depends on nothing but the seed: a replay of the log waits as long."""
    return int.from_bytes(sha256(seed.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 2**32
