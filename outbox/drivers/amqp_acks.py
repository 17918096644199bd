"""Which deliveries are settled, and the fewest acknowledgements that say so. Pure bookkeeping."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple


class Acknowledgements(NamedTuple):
    """What to send, in this order. Tags are the channel's own."""

    requeue: tuple[int, ...] = ()
    ack_up_to: int | None = None  # with `multiple`
    ack: tuple[int, ...] = ()


class Unsettled:
    """The deliveries of one channel, tags 1, 2, 3 ... as they came.

    `multiple` may be used only up to a tag below which all is settled: it would acknowledge the rest as well.
    """

    def __init__(self) -> None:
        self._last = 0
        self._lowest = 1  # all tags below are settled
        self._settled_above: set[int] = set()

    @property
    def last(self) -> int:
        """The tag of the latest delivery."""
        return self._last

    def delivered(self, tag: int) -> None:
        """One more came."""
        self._last = tag

    def settle(self, batches: Iterable[tuple[bool, Iterable[int]]]) -> Acknowledgements:
        """What to send for batches of (True to requeue or False to acknowledge, tags), in this order.

        Unknown tags are ignored, and of what is said twice of one tag the first counts.
        """
        requeue: list[int] = []
        ack: list[int] = []
        for requeues, tags in batches:
            (requeue if requeues else ack).extend(self._newly(tags))
        while self._lowest in self._settled_above:
            self._settled_above.remove(self._lowest)
            self._lowest += 1
        ack.sort()
        below = bisect_left(ack, self._lowest)
        return Acknowledgements(tuple(requeue), ack[below - 1] if below else None, tuple(ack[below:]))

    def _newly(self, tags: Iterable[int]) -> list[int]:
        new = []
        for tag in tags:
            if self._lowest <= tag <= self._last and tag not in self._settled_above:
                self._settled_above.add(tag)
                new.append(tag)
        return new
