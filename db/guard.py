"""A program that runs one server for another process and leaves nothing behind when that process ends.

    python guard.py '{"argv": [...], ...}'

It obeys lines on its standard input and answers each with one line:

    start -> pid 123      run the server          stop -> stopped      ask it to end; kill it if it does not
    kill  -> stopped      kill -9 it and all that it started

When its standard input closes, however its parent ended (`kill -9` too), or says `end`, it stops the server, kills
whatever the server left running, and removes the directories it was told to. Ctrl-C reaches the whole foreground
process group, so the guard and the server live in sessions of their own.

Only the standard library: it is run by path, without amends on the import path.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, as JSON on the command line. `user` is (uid, gid), for root alone to say."""

    argv: list[str]
    directory: str
    log: str
    env: dict[str, str] | None
    user: tuple[int, int] | None
    stop_signal: int
    patience_s: float
    remove: list[str]


def main(order: Order) -> None:
    """Obey until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Whatever the server starts and abandons becomes this process's child, so that it can be found and ended.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, _reap)
    server = 0
    for line in sys.stdin:
        match line.strip():
            case "start":
                try:
                    server = _start(order)
                    _answer(f"pid {server}")
                except OSError as error:
                    _answer(f"error {error}")
            case "stop":
                _stop(server, order.stop_signal, order.patience_s)
                _answer("stopped")
            case "kill":
                _kill(server)
                _answer("stopped")
            case _:
                break
    _stop(server, order.stop_signal, order.patience_s)
    for directory in order.remove:
        shutil.rmtree(directory, ignore_errors=True)


def _answer(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - The answer to the parent, over a pipe.


def _start(order: Order) -> int:
    uid, gid = order.user or (None, None)
    with Path(order.log).open("ab") as log:
        process = subprocess.Popen(
            order.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=order.directory,
            env=order.env,
            user=uid,
            group=gid,
            extra_groups=None if order.user is None else [],
            start_new_session=True,
            preexec_fn=_before_exec(order.stop_signal),
        )
    process.returncode = 0  # `_reap` collects it; Popen must not wait for it.
    return process.pid


def _before_exec(stop_signal: int) -> Callable[[], None]:
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # Should the guard itself be killed, the kernel tells the server.
        _prctl(_PR_SET_PDEATHSIG, stop_signal)

    return prepare


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap(_signal: int, _frame: FrameType | None) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def _stop(server: int, stop_signal: int, patience_s: float) -> None:
    _send(server, stop_signal)
    deadline = time.monotonic() + patience_s
    while _running(server) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    _kill(server)


def _kill(server: int) -> None:
    while found := _running(server):
        for pid in found:
            _send(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _send(pid: int, number: int) -> None:
    if pid and _exists(pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _running(server: int) -> list[int]:
    """Every process below this one; where there is no /proc, the server alone."""
    if not Path("/proc/self/stat").exists():
        return [server] if server and _exists(server) else []
    parents = dict(filter(None, map(_parent, Path("/proc").glob("[0-9]*/stat"))))
    return [pid for pid in parents if _descends(pid, parents)]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _parent(stat: Path) -> tuple[int, int] | None:
    try:
        # The command's name is in brackets and may hold anything, brackets and blanks too.
        state, parent = stat.read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None  # It ended while we looked.
    return None if state == "Z" else (int(stat.parent.name), int(parent))


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
