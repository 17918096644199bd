"""A server process that cannot outlive us: `amends.db.guard` watches it from a process of its own."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from amends.db import guard

_PATIENCE_S: Final = 10.0
_CLOSE_S: Final = 60.0


class Guarded:
    """One server, to be started and stopped. Whatever it starts ends with it, and all ends with us, killed or not.

    `directory` is its working directory, `log` gets its output; `remove` is deleted at the end. `user` is who it runs
    as, for root. `stop_signal` asks it to end; what still runs `patience_s` later is killed.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        directory: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: pwd.struct_passwd | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience_s: float = _PATIENCE_S,
        remove: Sequence[Path] = (),
    ) -> None:
        """Start the guard, not yet the server."""
        order = guard.Order(
            argv=[str(word) for word in argv],
            directory=str(directory),
            log=str(log),
            env=None if env is None else dict(env),
            user=None if user is None else (user.pw_uid, user.pw_gid),
            stop_signal=int(stop_signal),
            patience_s=patience_s,
            remove=[str(path) for path in remove],
        )
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, json.dumps(asdict(order))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self._argv: Final = order.argv
        self.pid: int | None = None

    def start(self) -> None:
        """Start the server. Raises: OSError if its program cannot be run."""
        word, _, rest = self._ask("start").partition(" ")
        if word != "pid":
            raise OSError(f"cannot run {self._argv[0]}: {rest or 'its guard has ended'}")
        self.pid = int(rest)

    def alive(self) -> bool:
        """Whether the server process itself runs."""
        if self.pid is None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """Ask the server to end; return when it and all that it started has ended."""
        self._ask("stop")

    def kill(self) -> None:
        """`kill -9` the server and all that it started, as a crash of its machine would."""
        self._ask("kill")

    def close(self) -> None:
        """Stop, and return when all is ended and `remove` is gone. May be called again."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        if self._guard.stdin.closed:
            return
        try:
            # A word, not only the end of the pipe: a child that was forked off us holds the pipe open too.
            self._guard.stdin.write("end\n")
            self._guard.stdin.close()
        except BrokenPipeError:
            pass  # The guard was killed, and the kernel has told the server.
        self._guard.wait(_CLOSE_S)
        self._guard.stdout.close()

    def _ask(self, word: str) -> str:
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(word + "\n")
        self._guard.stdin.flush()
        return self._guard.stdout.readline().strip()
