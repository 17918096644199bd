"""Quick looks at definitions that come over HTTP: in a thread of their own, one at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from amends.coordinator.registering import Checked, look
from amends.coordinator.saga.definition import Definition


class Checking:
    """A look is up to a second of reckoning: neither the event loop nor the threads that read wait for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="amends-check")

    async def look(self, definition: Definition) -> Checked:
        """What a quick look tells. Raises: InvalidDefinition for a promise that does not hold."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, look, definition)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)
