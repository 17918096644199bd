"""How a worker works: limits and numbers, checked when they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from amends.participants.barrier.pruning import RETENTION_S

CONSUMER_TIMEOUT_S: Final = 600.0
LEASE_MARGIN_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Limits of a worker. `_s` are seconds.

    `threads` run `do`, `undo_threads` run undo, confirm and fence, so that compensation never waits behind new work.
    `prefetch` is how many messages each thread may have waiting, itself included. `time_limit_s` is the longest a
    handler may take: an `async def` is cancelled then; of any other it is said, and in a worker of several processes
    its process is replaced. `grace_s` is how long running handlers may finish after a stop is asked for.
    `retention_s` is how long the barrier remembers (B6), `lock_timeout_s` how long a command waits for another.
    `batch` is how many new `do` commands may share a transaction: if one of them raises, all are run again one by one,
    so it suits handlers that seldom do, and whose time limit leaves room for several (B7).
    `relay` sweeps what other processes left in the outbox; turn it off where `amends relay` does that.
    """

    threads: int = 4
    undo_threads: int = 2
    processes: int = 1
    prefetch: int = 4
    time_limit_s: float = 60.0
    grace_s: float = 25.0
    retention_s: float = RETENTION_S
    lock_timeout_s: float = 1.0
    relay: bool = True
    batch: int = 1

    def __post_init__(self) -> None:
        """Raises: ValueError, naming the setting, for what cannot work."""
        for name in ("threads", "undo_threads", "processes", "prefetch", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("time_limit_s", "lock_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name):g}")
        if self.grace_s < 0:
            raise ValueError(f"grace_s must be at least 0, not {self.grace_s:g}")
        if self.retention_s < 2 * 86_400:
            raise ValueError(f"retention_s must be at least two days, not {self.retention_s:g} s")
        if self.at_hand * self.time_limit_s >= CONSUMER_TIMEOUT_S:
            raise ValueError(
                f"prefetch {self.at_hand} times time_limit_s {self.time_limit_s:g} must stay under "
                f"{CONSUMER_TIMEOUT_S:g} s, the time after which brokers take messages away from a consumer (B8); "
                f"lower one of them"
            )

    @property
    def at_hand(self) -> int:
        """How many messages each thread may have: enough for a batch."""
        return max(self.prefetch, self.batch)

    @property
    def lease_s(self) -> float:
        """How long an external call counts as under way: longer than it may take (B5)."""
        return self.time_limit_s + LEASE_MARGIN_S
