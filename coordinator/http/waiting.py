"""Long polls: many requests wait for sagas to end, and one ticker asks the database for all of them at once.

A waiting request costs a future in memory: no thread, no connection, no query of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final, TypeAlias

from amends.coordinator.errors import NotAccepting
from amends.db.errors import StoreUnavailable

log = logging.getLogger(__name__)

# Which of some sagas have ended.
EndedAmong: TypeAlias = Callable[[Collection[str]], Awaitable[set[str]]]

TICK_S: Final = 0.05
TICK_PER_SAGA_S: Final = 0.00005  # 10,000 sagas are asked for every half second more
AWAY_S: Final = 1.0


class Waiting:
    """Who waits for which saga to end. Used on one event loop."""

    def __init__(self, ended_among: EndedAmong, *, tick_s: float = TICK_S) -> None:
        self._ended_among = ended_among
        self._tick_s = tick_s
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return sum(len(waiters) for waiters in self._waiters.values())

    async def until_ended(self, saga_id: str, timeout_s: float) -> None:
        """Return when the saga has ended, after `timeout_s`, or when the door closes."""
        if self._closed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(saga_id, set()).add(waiter)
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick(), name="amends-long-polls")
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter, timeout_s)
        finally:
            self._forget(saga_id, waiter)

    def close(self) -> None:
        """Let everybody go with what is known now; the door is closing."""
        self._closed = True
        self._release(list(self._waiters))

    async def _tick(self) -> None:
        try:
            while self._waiters:
                await asyncio.sleep(await self._look())
        finally:
            self._ticker = None

    async def _look(self) -> float:
        """Ask once for all who wait; returns how many seconds to leave until the next look."""
        try:
            self._release(await self._ended_among(list(self._waiters)))
        except (StoreUnavailable, NotAccepting) as error:
            # Whoever waits is told when its own time is up; until then the database may be back.
            log.warning("long_polls_unread", extra={"waiting": len(self), "error": type(error).__name__})
            return AWAY_S
        return self._tick_s + TICK_PER_SAGA_S * len(self._waiters)

    def _release(self, saga_ids: Collection[str]) -> None:
        for saga_id in saga_ids:
            for waiter in self._waiters.get(saga_id, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def _forget(self, saga_id: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters[saga_id]
        waiters.discard(waiter)
        if not waiters:
            del self._waiters[saga_id]
