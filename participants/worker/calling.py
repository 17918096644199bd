"""Calling a handler: plain or async, in the thread at hand."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from amends.participants.participant import Handler


class Caller:
    """Calls handlers in one thread; its async handlers share one event loop, made at the first."""

    def __init__(self, time_limit_s: float) -> None:
        self._time_limit_s = time_limit_s
        self._runner: asyncio.Runner | None = None

    def call(self, handler: Handler, arguments: list[Any]) -> Any:
        """What the handler returns. Raises: what it raises; TimeoutError if it is async and over its time limit."""
        if not handler.signature.is_async:
            return handler.function(*arguments)
        if self._runner is None:
            self._runner = asyncio.Runner()
        # The runner would otherwise use the context it was made in, without this command's log fields.
        return self._runner.run(self._limited(handler, arguments), context=contextvars.copy_context())

    def close(self) -> None:
        """End the event loop. In the thread that called."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    async def _limited(self, handler: Handler, arguments: list[Any]) -> Any:
        async with asyncio.timeout(handler.limits.time_limit_s or self._time_limit_s):
            return await handler.function(*arguments)
