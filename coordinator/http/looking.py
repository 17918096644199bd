"""The broker as the door may ask it: one look at a time, briefly, and a look that is a second old is good enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from amends.coordinator.engine.contract import Engine
from amends.coordinator.why.causes import Broker
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import QueueState

PATIENCE_S: Final = 3.0
FRESH_S: Final = 1.0


class Looking:
    """Asks the broker how command queues stand. Each look is a connection of its own, so they are kept few."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="amends-look")
        self._seen: dict[str, tuple[float, QueueState | None]] = {}
        self._away: tuple[float, str] = (0.0, "")

    async def at(self, queues: Collection[str]) -> Broker:
        """How these queues stand; that the broker is away, if it says nothing within some seconds."""
        in_process = self._engine.broker_in_process
        if not queues:
            return Broker(in_process=in_process)
        loop = asyncio.get_running_loop()
        try:
            look = loop.run_in_executor(self._thread, self._look, frozenset(queues))
            found = await asyncio.wait_for(look, 2 * PATIENCE_S)
        except BrokerUnavailable as error:
            return Broker(away=str(error), in_process=in_process)
        except TimeoutError:
            return Broker(away=f"it said nothing within {2 * PATIENCE_S:g} s", in_process=in_process)
        return Broker(queues=found, in_process=in_process)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, queues: frozenset[str]) -> dict[str, QueueState | None]:
        old = time.monotonic() - FRESH_S
        if self._away[0] > old:
            raise BrokerUnavailable(self._away[1])
        self._seen = {queue: seen for queue, seen in self._seen.items() if seen[0] > old}
        missing = queues - self._seen.keys()
        if missing:
            self._ask(missing)
        return {queue: self._seen[queue][1] for queue in queues}

    def _ask(self, queues: Collection[str]) -> None:
        try:
            found = self._engine.look(queues, timeout_s=PATIENCE_S)
        except BrokerUnavailable as error:
            self._away = (time.monotonic(), str(error))
            raise
        now = time.monotonic()
        self._seen.update({queue: (now, state) for queue, state in found.items()})
