"""Notices that a handler calls outside, by Python's audit events: whatever library it uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Final

_OUTSIDE: Final = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system")
_watch = local()
_hooked: list[bool] = []


class CalledOutside(RuntimeError):
    """A handler that is not `external=True` wanted to call outside; the call was not let through."""


@contextmanager
def forbidden(seen: list[str]) -> Iterator[None]:
    """While the block runs, in this thread: calls outside are noted in `seen` and raise CalledOutside."""
    if not _hooked:
        # A hook stays for good; outside of such blocks it does nothing.
        _hooked.append(True)
        sys.addaudithook(_hear)
    before = getattr(_watch, "seen", None)
    _watch.seen = seen
    try:
        yield
    finally:
        _watch.seen = before


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    seen = getattr(_watch, "seen", None)
    if seen is None or event not in _OUTSIDE:
        return
    what = arguments[1] if event == "socket.connect" else arguments[0]
    seen.append(f"{event} {what!r:.80}")
    raise CalledOutside(f"a handler that is not external=True calls outside: {event} {what!r:.80}")
