"""Keeps the log of an embedded run off the screen, and has its errors ready if the run fails."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

KEPT: Final = 20
TROUBLE: Final = (ConnectionError, TimeoutError)  # what the sandbox makes handlers raise


class Kept(logging.Handler):
    """The last warnings and errors: when, where, the event's name, and its fields that say why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        raised = record.exc_info[1] if record.exc_info else None
        if isinstance(raised, TROUBLE):
            return
        why = getattr(record, "error", None) or (None if raised is None else repr(raised))
        self.lines.append(f"{record.levelname.lower()} {record.getMessage()}{f': {why!s}' if why else ''}")


@contextmanager
def kept_log() -> Iterator[Kept]:
    """Amends' log records go to what this gives, and nowhere else."""
    amends = logging.getLogger("amends")
    before = (amends.propagate, amends.level, amends.handlers)
    kept = Kept()
    amends.propagate, amends.handlers = False, [kept]
    amends.setLevel(logging.WARNING)
    try:
        yield kept
    finally:
        amends.propagate, amends.handlers = before[0], before[2]
        amends.setLevel(before[1])
