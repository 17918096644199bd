"""The spans of what the coordinator deals with: begun at the delivery, ended once that is durable."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from amends.coordinator.engine.intake import AnyItem, StartItem
from amends.outbox.ports import Delivery
from amends.outbox.tracing import Tracing, Work


class Works:
    """By delivery. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._works: dict[int, Work] = {}

    @property
    def any(self) -> bool:
        """Whether any is under way."""
        return bool(self._works)

    def begin(self, read: Iterable[tuple[Delivery, AnyItem]], tracing: Tracing) -> None:
        """Begin with these. A start's saga is from now on a child of the work on it: so are all its commands."""
        for delivery, item in read:
            work = tracing.work(delivery, **{"amends.saga": item.saga_id})
            if isinstance(item, StartItem):
                item.trace = work.trace
            with self._lock:
                self._works[delivery.tag] = work

    def end(self, tags: Iterable[int], told: str = "") -> None:
        """These are dealt with, or given back for the reason that is told."""
        with self._lock:
            ended = [self._works.pop(tag) for tag in tags if tag in self._works]
        for work in ended:
            if told:
                work.told(told)
            work.end()

    def forget(self) -> None:
        """The broker has taken all of them back, and delivers them again."""
        self.end(list(self._works), "given back")
