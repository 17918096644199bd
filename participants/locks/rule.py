"""Who gets a lock, who waits and who gives way: the rules L2 and L3, without any I/O.

A saga that holds nothing waits for anybody: nobody waits for it, so it closes no circle. One that holds locks, here or
elsewhere, waits for younger sagas alone; by an older one it is refused, and compensated. So along any circle of sagas
that wait for each other each would have to be older than the next: there is none (wait-die).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Claimant:
    """A saga, and when it started, ms since 1970."""

    saga: UUID
    started_ms: int

    def older_than(self, other: Claimant) -> bool:
        """Sagas of one millisecond are told apart by their ids."""
        return (self.started_ms, self.saga.int) < (other.started_ms, other.saga.int)


class Verdict(Enum):
    """What becomes of a wish for a lock."""

    OURS = auto()  # the saga has it
    TAKE = auto()
    WAIT = auto()
    GIVE_WAY = auto()  # refused: waiting might never end
    REFUSE = auto()  # refused: it was not to wait


def decide(
    wish: Claimant,
    holder: Claimant | None,
    ahead: Sequence[Claimant],
    *,
    holds: bool,
    wait: bool,
) -> Verdict:
    """`ahead` wait for it since before the wish; `holds` says that the saga may hold locks and can still turn back."""
    if holder is not None and holder.saga == wish.saga:
        return Verdict.OURS
    if holder is None and not ahead:
        return Verdict.TAKE
    if not wait:
        return Verdict.REFUSE
    if holds and holder is not None and holder.older_than(wish):
        return Verdict.GIVE_WAY
    # Who is ahead of a free lock takes it at its next try, or its place lapses: that wait ends by itself.
    return Verdict.WAIT
