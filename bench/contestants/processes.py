"""The processes of a contestant: started together, ended together, each with a log."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from amends.db.guarded import Guarded
from amends.db.private_postgres import tail

ROOT = Path(__file__).resolve().parents[2]


def environment(**settings: str) -> dict[str, str]:
    """Our environment with these settings and no others of amends, for a process that finds our modules."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AMENDS_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **settings}


class Processes:
    """Python processes by name. A context manager: all of them are gone at its end."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._directory = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="amends-bench-")))
        self._processes: dict[str, Guarded] = {}
        self._paused: dict[str, Guarded] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def pids(self) -> dict[str, int]:
        """Their process ids."""
        return {name: one.pid for name, one in self._processes.items() if one.pid is not None}

    def start(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        """Run `python -m ARGUMENTS` under this name, in an environment without AMENDS_ settings of ours."""
        process = Guarded(
            [sys.executable, "-m", *arguments],
            directory=ROOT,
            log=self._directory / f"{name}.log",
            env=environment(**(env or {})),
        )
        self._ends.callback(process.close)
        process.start()
        self._processes[name] = process

    def end(self, name: str) -> None:
        """Stop one in good order."""
        self._processes.pop(name).stop()

    def pause(self, name: str) -> None:
        """Stop one in good order, to be resumed."""
        self._paused[name] = self._processes.pop(name)
        self._paused[name].stop()

    def resume(self, name: str) -> None:
        """Start a paused one anew."""
        self._processes[name] = self._paused.pop(name)
        self._processes[name].start()

    def check(self) -> None:
        """Raises: RuntimeError, with the end of its log, if one of them has ended by itself."""
        for name, process in self._processes.items():
            if not process.alive():
                raise RuntimeError(f"{name} has ended: {tail(self._directory / f'{name}.log', 15)}")

    def tails(self) -> dict[str, str]:
        """How each log ends."""
        return {name: tail(self._directory / f"{name}.log") for name in self._processes}
