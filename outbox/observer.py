"""What senders and relays tell about themselves, for metrics. Calls come from their threads and must be quick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

Way = Literal["memory", "sweep"]
Miss = Literal["returned", "nacked", "unroutable", "too_large", "overdue", "lost"]


class OutboxObserver(Protocol):
    """`way`: published from memory after a commit, or swept from the table."""

    def published(self, way: Way, count: int) -> None:
        """One batch of messages was put on the wire."""

    def confirmed(self, way: Way, latencies_s: Sequence[float]) -> None:
        """The broker confirmed messages; seconds from publish to confirm."""

    def unconfirmed(self, way: Way, miss: Miss, count: int) -> None:
        """Messages were published and not confirmed; they come again."""

    def parked(self, count: int) -> None:
        """Rows were set aside for an operator."""

    def received(self, count: int) -> None:
        """Rows were deleted because their receipts came."""

    def taken_over(self, count: int) -> None:
        """Rows of dead owners were taken over by the sweep."""


class Unobserved:
    """Tells nobody."""

    def published(self, way: Way, count: int) -> None: ...
    def confirmed(self, way: Way, latencies_s: Sequence[float]) -> None: ...
    def unconfirmed(self, way: Way, miss: Miss, count: int) -> None: ...
    def parked(self, count: int) -> None: ...
    def received(self, count: int) -> None: ...
    def taken_over(self, count: int) -> None: ...
