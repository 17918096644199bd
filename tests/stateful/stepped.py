"""A real coordinator whose threads are not started: the test takes their turns, one at a time, in any order.

So a run is the same each time. A turn may be the engine's last: it dies at a crash point, as a process would, or its
COMMIT's answer never comes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, event

from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.stepping import AT_ONCE, Stepping
from amends.coordinator.observer import Observer
from amends.db import crashpoints
from amends.outbox.ports import Broker

# Small enough to be met: a window of five, a breaker that opens at the third timeout, sagas pruned after an hour.
SETTINGS: Final = EngineSettings(
    window=5,
    breaker_failures=3,
    retention_s=3_600.0,
    placeholder_s=7_200.0,
    **AT_ONCE,
)


class Killed(BaseException):
    """The process is gone."""


class Stepped(Stepping):
    """One engine. `take` decides and publishes; the other turns are taken when the test says."""

    def __init__(
        self,
        database: Engine,
        broker: Broker,
        prefix: str,
        observer: Observer,
        settings: EngineSettings = SETTINGS,
    ) -> None:
        self._database = database
        super().__init__(Coordinator(database, broker, prefix=prefix, settings=settings, observer=observer))

    def dies(self) -> None:
        """All that it had in memory is gone; the broker takes back what it had not acknowledged."""
        self.close()

    @contextmanager
    def losing_the_answer(self, *, committed: bool) -> Iterator[None]:
        """Its next COMMIT happens, or does not, and the connection is gone before the answer comes."""

        left = [committed]

        def cut(connection: Connection) -> None:
            if not left:
                return  # Its next COMMIT only.
            driver: Any = connection.connection.driver_connection
            if left.pop():
                driver.commit()
            driver.close()

        event.listen(self._database, "commit", cut)
        try:
            yield
        finally:
            event.remove(self._database, "commit", cut)


@contextmanager
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let crash points raise Killed here, where they would kill the process."""
    really = os.kill

    def kill(process: int, number: int) -> None:
        if (process, number) != (os.getpid(), signal.SIGKILL):
            really(process, number)
            return
        crashpoints.arm(None)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", kill)
        yield
    crashpoints.arm(None)
