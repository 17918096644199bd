"""How tests are spread over the processes of a run, so that no process has all the long ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

# Half of the time a test waits, so two processes keep one core busy; each brings servers of its own.
PROCESSES_PER_CORE: Final = 2


def processes() -> int:
    """How many processes are worth it on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return PROCESSES_PER_CORE * cores


def spread(longest_first: Sequence[T], others: Sequence[T], parts: int) -> list[T]:
    """One list whose `parts` equal pieces each begin with some of the long ones, the longest each in another.

    pytest-xdist's `worksteal` gives every process such a piece to begin with, and its tail to whoever is idle.
    """
    sizes = _sizes(len(longest_first) + len(others), parts)
    pieces: list[list[T]] = [[] for _ in sizes]
    turns = [*range(parts), *reversed(range(parts))]
    for number, one in enumerate(longest_first):
        pieces[turns[number % len(turns)]].append(one)
    rest = iter(others)
    for piece, size in zip(pieces, sizes, strict=True):
        piece.extend(one for _, one in zip(range(size - len(piece)), rest, strict=False))
    return [one for piece in pieces for one in piece] + list(rest)


def _sizes(count: int, parts: int) -> list[int]:
    sizes = []
    for left in range(parts, 0, -1):
        sizes.append(count // left)
        count -= sizes[-1]
    return sizes
