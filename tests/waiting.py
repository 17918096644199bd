"""Waiting for a condition, with a deadline, instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

# Costs nothing where things go well; a busy machine with a slow disk takes what it needs.
DEADLINE_S: Final = 90.0

T = TypeVar("T")


def eventually(
    condition: Callable[[], T], deadline_s: float = DEADLINE_S, what: str = "the condition to hold"
) -> T:
    """The condition's first truthy value, asked every 20 ms; fails the test with `what` after `deadline_s`."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {deadline_s:g} s for {what}; last seen: {value!r}")
        time.sleep(0.02)
