"""Programs of the example: started, waited for until they serve, and ended by their ids, however it ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import httpx

from amends.db.engines import open_engine
from amends.db.migrate import migrate
from amends.db.private_postgres import free_port

_READY_S: Final = 40.0
_STOP_S: Final = 40.0


class Program:
    """A program that serves HTTP, until the `with` block ends."""

    def __init__(self, command: list[str], environment: Mapping[str, str], port: int, ready: str) -> None:
        """Start it. `ready` is the path that answers 200 once it serves."""
        self.url = f"http://127.0.0.1:{port}"
        self._ready = ready
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - It is closed where the program has ended.
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], env=dict(environment), stderr=self._log, stdout=self._log
        )

    @classmethod
    @contextmanager
    def coordinator(
        cls, database: str, environment: Mapping[str, str], port: int, saga: str
    ) -> Iterator[Program]:
        """A coordinator on an empty database, which knows this saga."""
        engine = open_engine(database)
        migrate(engine, "coordinator")
        engine.dispose()
        command = ["amends.db.cli", "coordinator", "--apply", saga, "--port", str(port)]
        with cls(command, {**environment, "AMENDS_DATABASE_URL": database}, port, "/readyz") as program:
            yield program

    def __enter__(self) -> Program:
        deadline = time.monotonic() + _READY_S
        try:
            while not self._is_ready():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self._process.args} did not come up:\n{self.log}")
                time.sleep(0.05)
        except BaseException:
            self.kill()
            self._log.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._log.close()

    @property
    def log(self) -> str:
        """What it has said so far."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def stop(self) -> int:
        """Let it end in order; its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.url + self._ready, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def uvicorn(app: str, environment: Mapping[str, str], *options: str) -> Program:
    """An application under uvicorn, ready once everything beside it works."""
    port = free_port()
    command = ["uvicorn", app, "--port", str(port), *options]
    return Program(command, environment, port, "/health/ready")
