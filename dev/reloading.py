"""One process that is begun anew whenever a source changes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from watchfiles import Change, PythonFilter, watch

from amends.dev.house import Order

_LOOK_MS: Final = 300
_END_S: Final = 15.0
_NOT_SOURCES: Final = ("venv", ".venv", "build", "dist", "site-packages")


class Reloading:
    """The house, and what to do when it ends or a file changes."""

    def __init__(
        self, order: Order, folder: Path, ignored: Path, tell: Callable[[str], None] = click.echo
    ) -> None:
        """Watch the Python files below `folder`, except those below `ignored`."""
        self._order = order
        self._folder = folder
        self._filter = PythonFilter(ignore_paths=[ignored, *(folder / name for name in _NOT_SOURCES)])
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = False

    def run(self, stop: threading.Event, *, reload: bool) -> int:
        """Keep the house running until `stop` is set; the exit status.

        Without `reload` it ends with the house. With it a house that has ended waits for the next change: whoever is
        in the middle of an edit wants the error, not the end.
        """
        self._begin()
        try:
            for changes in watch(
                self._folder,
                watch_filter=self._filter if reload else _nothing,
                stop_event=stop,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                if changes:
                    self._tell(f"amends: {_named(changes, self._folder)} changed; beginning anew")
                    self._end()
                    self._begin()
                elif self._has_ended() and not reload:
                    assert self._process is not None
                    return self._process.returncode or 1
            return 0
        finally:
            self._end()

    def _begin(self) -> None:
        words = msgspec.json.encode(self._order)
        self._gone = False
        # Ctrl-C reaches the whole group of the terminal: we end the house ourselves, in good order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "amends.dev.house"], stdin=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        # Not as an argument: whoever lists processes would see a broker's password.
        self._process.stdin.write(words + b"\n")
        self._process.stdin.flush()

    def _has_ended(self) -> bool:
        """Whether the house has ended by itself; told once."""
        process = self._process
        if process is None or process.poll() is None:
            return False
        if not self._gone:
            self._gone = True
            self._tell(
                f"amends: ended with status {process.returncode}; change a file to begin anew, Ctrl-C to end"
            )
        return True

    def _end(self) -> None:
        """Let it finish what is under way, for a while."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _nothing(_change: object, _path: str) -> bool:
    return False


def _named(changes: set[tuple[Change, str]], folder: Path) -> str:
    """The first of the changed files, and how many more."""
    names = sorted(str(Path(path).relative_to(folder)) for _, path in changes)
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
