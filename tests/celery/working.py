"""Real Celery workers in tests: programs of their own, started by the ordinary command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from amends.outbox.ports import Broker
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class CeleryWorker:
    """`celery -A APP worker` on some queues; prefork with two children, or in one process."""

    def __init__(
        self,
        app: str,
        queues: list[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        pool: str = "solo",
        options: tuple[str, ...] = (),
    ) -> None:
        self._log = log
        self._queues = queues
        command = [
            sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool, "-c", "2", "-Q", ",".join(queues),
            "-n", f"{uuid4().hex}@tests", "-l", "INFO", "--without-gossip", "--without-mingle", *options,
        ]  # fmt: skip
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_ready(self, broker: Broker) -> None:
        """Wait until it consumes from every queue."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the Celery worker ended: {self.log[-2000:]}"
            looked = broker.look(self._queues, timeout_s=5)
            return all(state is not None and state.consumers > 0 for state in looked.values())

        eventually(ready, what="the Celery worker to consume")

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """`kill -9` of the worker and of its children, all at one moment. It may be dead already."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
