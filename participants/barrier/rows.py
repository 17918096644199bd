"""A row of the barrier as it is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class Stand(StrEnum):
    """What became of one op of one step; the barrier's column `outcome`.

    CALLING is an external call under way (B5), and what a row says while its handler runs: nobody else sees that,
    unless a handler ended our transaction behind our back. Then it says the truth: in doubt.
    """

    DONE = "done"
    REFUSED = "refused"
    NEVER = "never"
    NOTHING = "nothing"
    CALLING = "calling"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarrierRow:
    """What stands for one (saga, path, op).

    `final`: no later round may run it again (B3). `calls`: how often an external handler was called.
    `lease_left_s`: how long the call under way may still take, by the database's clock; 0 or less if it lapsed.
    `holds`: the saga has locks in this database (L1).
    """

    round: int
    stand: Stand
    certain: bool = True
    final: bool = False
    reason: str = ""
    args: bytes | None = None
    result: bytes | None = None
    calls: int = 0
    lease_left_s: float = 0.0
    holds: bool = False

    @property
    def leased(self) -> bool:
        """A call is under way."""
        return self.stand is Stand.CALLING and self.lease_left_s > 0

    @property
    def in_doubt(self) -> bool:
        """It may have happened, though nobody can say so: an uncertain refusal, or a call that never told."""
        return (self.stand is Stand.REFUSED and not self.certain) or (
            self.stand is Stand.CALLING and not self.leased
        )


class StepKey(NamedTuple):
    """One step instance of one saga."""

    saga: UUID
    path: str
