"""The database as the event loop may use it: a few threads, a few connections, never the loop itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from amends.coordinator.errors import NotAccepting
from amends.db.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 4
WAITING_MAX: Final = 20_000


class Reading:
    """Runs functions that take the database as their first argument, in threads of its own.

    The database is the door's own engine: requests cannot take the connections the deciding loop needs. `threads`
    should not be more than its pool has connections.
    """

    def __init__(self, database: Engine, *, threads: int = THREADS, waiting_max: int = WAITING_MAX) -> None:
        self.database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="amends-door")
        self._waiting = 0
        self._waiting_max = waiting_max

    async def run(
        self, function: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function(database, ...)` in a thread.

        Raises: what it raises; StoreUnavailable if it took too long; NotAccepting if too many wait already.
        """
        if self._waiting >= self._waiting_max:
            raise NotAccepting(f"{self._waiting_max:,} requests wait for the database already: try again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: function(self.database, *args, **kwargs))
        except OperationalError as error:
            # What is left once the database is known to be there: a statement over its time, a lock not granted.
            raise StoreUnavailable("the database took too long") from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads go once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
