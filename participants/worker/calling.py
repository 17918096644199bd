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
        own: BaseException | None = None

        async def limited() -> Any:
            nonlocal own
            try:
                async with asyncio.timeout(handler.limits.time_limit_s or self._time_limit_s):
                    return await handler.function(*arguments)
            except BaseException as error:
                own = error
                raise

        try:
            # The runner would otherwise use the context it was made in, without this command's log fields.
            return self._runner.run(limited(), context=contextvars.copy_context())
        except BaseException as error:
            if error is not own:
                # A signal handler raised in the loop itself, as Celery's soft time limit does: what was called is
                # still pending there, and would go on beside the next one. Here it is cancelled.
                self.close()
            raise

    def close(self) -> None:
        """End the event loop, and cancel what is pending there. In the thread that called."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
