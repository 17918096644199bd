"""Named places where a test makes the process kill itself, as `kill -9` would.

`AMENDS_CRASH_AT=coordinator.commit.before` (or `...:3` for the third visit) arms one; the entry points read it
through their configuration and call `arm`. Unarmed, a visit costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

CRASH_POINTS: Final[tuple[str, ...]] = (
    # The coordinator's engine: one batch, in this order.
    "coordinator.batch.received",
    "coordinator.commit.before",
    "coordinator.commit.after",
    "coordinator.publish.before",
    "coordinator.publish.after",
    "coordinator.confirm.after",
    "coordinator.receipt.before",
    "coordinator.receipt.after",
    "coordinator.ack.before",
    "coordinator.ack.after",
    "coordinator.delete.before",
    "coordinator.delete.after",
    "coordinator.timer.claimed",
    # The same commit, where a schedule is fired in it (S4).
    "coordinator.schedule.before",
    "coordinator.schedule.after",
    # A participant's worker: one command, in this order.
    "participant.received",
    "participant.barrier.after",
    "participant.handler.after",
    "participant.commit.before",
    "participant.commit.after",
    "participant.publish.before",
    "participant.publish.after",
    "participant.confirm.after",
    "participant.ack.before",
    "participant.ack.after",
    "participant.delete.before",
    "participant.delete.after",
    # An external call (B5).
    "participant.intent.before",
    "participant.intent.after",
    # The relay's sweep.
    "relay.claim.before",
    "relay.claim.after",
    "relay.publish.before",
    "relay.publish.after",
    "relay.confirm.after",
    "relay.delete.before",
    "relay.delete.after",
    "relay.receipt.before",
    "relay.receipt.after",
)

_armed: str | None = None
_visits_left = 0
_watcher: Callable[[str], None] | None = None


def arm(spec: str | None) -> None:
    """Arm `NAME` or `NAME:N` (the N-th visit); None disarms.

    Raises: ValueError for a name that is no crash point.
    """
    global _armed, _visits_left  # noqa: PLW0603 - A process has one way to die; threads share it on purpose.
    if spec is None:
        _armed = None
        return
    name, _, visits = spec.partition(":")
    if name not in CRASH_POINTS:
        raise ValueError(f"no crash point {name!r}; known: {', '.join(CRASH_POINTS)}")
    _armed, _visits_left = name, int(visits or 1)


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if this point is armed and its turn has come."""
    global _visits_left  # noqa: PLW0603 - See `arm`.
    if _armed != name and _watcher is None:
        return
    if _watcher is not None:
        _watcher(name)
        return
    _visits_left -= 1
    if _visits_left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def watched(watcher: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, tell of each visit instead: what the watcher raises goes through the code that visits.

    For tests that let a piece of work die in one thread, of which the process outlives it.
    """
    global _watcher  # noqa: PLW0603 - As in `arm`.
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
