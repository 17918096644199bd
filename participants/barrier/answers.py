"""What is answered to a command, before it becomes a reply on the wire."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import msgspec

from amends.outbox.wire import Command, Outcome, Reply

NULL = b"null"
REASON_CHARS_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of one command.

    `durable` says that the transaction it was found in wrote something, so that it must commit, with the reply.
    Any other answer is found again by asking again: its transaction may be rolled back and its reply may be lost.
    `repeated` says that it was settled before: a barrier hit. `holds`: the saga has locks in this database (L1).
    """

    outcome: Outcome
    result: bytes = NULL
    reason: str = ""
    certain: bool = True
    spent: bool = True
    retry_after_s: float | None = None
    ran_in_round: int | None = None
    in_doubt: bool = False
    durable: bool = False
    repeated: bool = False
    holds: bool = False

    def of_one_that_holds(self, locked: Collection[str], saga: str) -> Answer:
        """This answer, telling that its saga holds locks here, if it is done and the saga is among these (L1)."""
        if saga not in locked or self.outcome is not Outcome.DONE:
            return self
        return replace(self, holds=True)

    def reply(self, command: Command, participant: str) -> Reply:
        """The reply to this command; it carries the command's own round and attempt (B1)."""
        return Reply(
            saga=command.saga,
            path=command.path,
            op=command.op,
            round=command.round,
            attempt=command.attempt,
            outcome=self.outcome,
            participant=participant,
            result=msgspec.Raw(self.result),
            reason=clipped(self.reason),
            certain=self.certain,
            spent=self.spent,
            retry_after_s=self.retry_after_s,
            ran_in_round=self.ran_in_round,
            in_doubt=self.in_doubt,
            closes=command.closes,
            holds=self.holds,
        )


def failed(reason: str, *, spent: bool, retry_after_s: float | None = None) -> Answer:
    """A transient failure: nothing was written (M3)."""
    return Answer(outcome=Outcome.FAILED, reason=reason, spent=spent, retry_after_s=retry_after_s)


def clipped(reason: str) -> str:
    """A reason is for people: at most REASON_CHARS_MAX characters, and only such as databases and JSON take."""
    clean = reason.replace("\0", "").encode("utf-8", "replace").decode()
    return clean if len(clean) <= REASON_CHARS_MAX else clean[: REASON_CHARS_MAX - 1] + "…"
