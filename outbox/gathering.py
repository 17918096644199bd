"""Letting batches grow under load: what a transaction costs is mostly its own, whatever is in it."""

from __future__ import annotations

from typing import Final

LONGEST_S: Final = 0.05


class Gathering:
    """How long to wait for more before the next batch is begun. One thread's own.

    Not at all while batches have fewer than `load` messages: then nobody queues, and a wait would only be latency. From
    there on as long as the last batch took, at most 50 ms: whoever queues waits for longer than that already, and
    larger batches make the queue shorter.
    """

    def __init__(self, load: int) -> None:
        self._load = load
        self._wait_s = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds."""
        return self._wait_s

    def done(self, messages: int, seconds: float) -> None:
        """A batch of so many messages took so long."""
        self._wait_s = min(LONGEST_S, seconds) if messages >= self._load else 0.0
