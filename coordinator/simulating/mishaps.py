"""What goes wrong in a run: when, how often, and how it is counted. Everything is drawn from one source of chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from random import Random

from amends.coordinator.simulating.tables import Journal
from amends.db.errors import CommitUnknown, StoreUnavailable


class Crashed(Exception):
    """A process died at this point: all that it had in memory is gone."""


class Commit(Enum):
    """What becomes of a COMMIT."""

    DONE = "done"
    CRASH_BEFORE = "crashed before the commit"
    CRASH_AFTER = "crashed after the commit"
    UNKNOWN_DONE = "commit of unknown outcome, committed"
    UNKNOWN_LOST = "commit of unknown outcome, not committed"
    AWAY = "database away"


class Mishaps:
    """Chance, and how harsh it is. `calm`: nothing goes wrong (any more). `counts` are told at the end."""

    def __init__(self, rng: Random, *, harshness: float) -> None:
        self.rng = rng
        self.harshness = harshness
        self.calm = False
        self.counts: Counter[str] = Counter()
        self.tell: Callable[[str], None] | None = None

    def strikes(self, what: str, likelihood: float) -> bool:
        """Whether this goes wrong now; then it is counted."""
        if self.calm or self.rng.random() >= likelihood * self.harshness:
            return False
        self.counts[what] += 1
        if self.tell is not None:
            self.tell(what)
        return True

    def crash_point(self, point: str) -> None:
        """A moment at which a process may die. Raises: Crashed."""
        if not self.calm and self.rng.random() < 0.006 * self.harshness:
            self.counts["crash"] += 1
            if self.tell is not None:
                self.tell(f"crashes: {point}")
            raise Crashed(point)

    def commit(self) -> Commit:
        """What becomes of the next COMMIT."""
        if self.calm or self.rng.random() >= 0.05 * self.harshness:
            return Commit.DONE
        fate = self.rng.choice(
            (Commit.CRASH_BEFORE, Commit.CRASH_AFTER, Commit.UNKNOWN_DONE, Commit.UNKNOWN_LOST, Commit.AWAY)
        )
        self.counts["crash" if fate in (Commit.CRASH_BEFORE, Commit.CRASH_AFTER) else fate.value] += 1
        if self.tell is not None:
            self.tell(fate.value)
        return fate


_LOST = (Commit.CRASH_BEFORE, Commit.UNKNOWN_LOST, Commit.AWAY)


@contextmanager
def transaction(
    journal: Journal, mishaps: Mishaps, committed: Callable[[], None] | None = None
) -> Iterator[None]:
    """One transaction: what the block changes happens as a whole, or not at all. `committed` is called if it does.

    Raises: Crashed, CommitUnknown, StoreUnavailable, and what the block raises: then nothing has happened.
    """
    try:
        yield
    except BaseException:
        journal.take_back()
        raise
    fate = mishaps.commit()
    if fate in _LOST:
        journal.take_back()
    else:
        journal.keep()
        if committed is not None:
            committed()
    match fate:
        case Commit.CRASH_BEFORE | Commit.CRASH_AFTER:
            raise Crashed(fate.value)
        case Commit.UNKNOWN_DONE | Commit.UNKNOWN_LOST:
            raise CommitUnknown(fate.value)
        case Commit.AWAY:
            raise StoreUnavailable(fate.value)
        case _:
            pass
