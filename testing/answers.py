"""What a participant answers: the words in which a test scripts outcomes, and holds a handler's against them.

    run.when(charge=refused("card declined"))
    assert amends_participant.send(charge, Charge(card="void")) == refused("card declined")

Two answers are equal if they say the same: results are compared as the JSON they travel as.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from amends.testing.bench import Letter

SILENCE: Final = "silence"
STUCK: Final = "stuck"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What is answered to one command. `outcome` is a word of the wire: done, refused, failed, never, nothing ...

    `to_op`, `to_attempt`, `to_round` are set by `to`: an answer that comes late. `letter` is the command that it
    answers, where a handler has given it; it makes no difference between two answers.
    """

    outcome: str
    result: Any = None
    reason: str = ""
    certain: bool = True
    spent: bool = True
    retry_after_s: float | None = None
    in_doubt: bool = False
    to_op: str | None = None
    to_attempt: int | None = None
    to_round: int | None = None
    letter: Letter | None = field(default=None, repr=False)

    def to(self, op: str, *, attempt: int | None = None, round: int | None = None) -> Answer:  # noqa: A002 - As on the wire.
        """The same answer, to a command that the step has left behind: late, or doubled."""
        return replace(self, to_op=op, to_attempt=attempt, to_round=round)

    @property
    def plain(self) -> Any:
        """The result as the JSON values it travels as."""
        import msgspec

        from amends.participants.payloads import encode

        return msgspec.json.decode(encode(self.result))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answer):
            return NotImplemented
        return self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self.outcome)

    def __repr__(self) -> str:
        told = [repr(self.result)] if self.result is not None else []
        told += [repr(self.reason)] if self.reason else []
        told += [f"{name}={value!r}" for name, value in self._unusual()]
        return f"{self.outcome}({', '.join(told)})"

    def _unusual(self) -> list[tuple[str, Any]]:
        usual = {"certain": True, "spent": True, "retry_after_s": None, "in_doubt": False}
        return [(name, getattr(self, name)) for name, value in usual.items() if getattr(self, name) != value]

    def _said(self) -> tuple[Any, ...]:
        # What the barrier says of its own accord is for people.
        reason = self.reason if self.outcome in ("refused", "failed", STUCK) else ""
        return (self.outcome, self.plain, reason, self._unusual())


def done(result: Any = None) -> Answer:
    """It happened; of a child: it is done."""
    return Answer(outcome="done", result=result)


def refused(reason: str = "no", *, certain: bool = True) -> Answer:
    """A business no (M2); of a child: nothing of it is left. `certain=False`: an earlier call is in doubt."""
    return Answer(outcome="refused", reason=reason, certain=certain)


def failed(error: str = "busy", *, spent: bool = True, retry_after_s: float | None = None) -> Answer:
    """It did not work this time (M3)."""
    return Answer(outcome="failed", reason=error, spent=spent, retry_after_s=retry_after_s)


def silence() -> Answer:
    """No answer comes: the step's timeout passes (M4)."""
    return Answer(outcome=SILENCE)


def nothing() -> Answer:
    """To an undo: there is nothing to undo (B2)."""
    return Answer(outcome="nothing")


def never(*, in_doubt: bool = False) -> Answer:
    """To a fence: it has not run, and never will (B3); of a child: it had not begun."""
    return Answer(outcome="never", in_doubt=in_doubt)


def unknown() -> Answer:
    """To a pivot's fence: an external call is in doubt (B5)."""
    return Answer(outcome="unknown")


def expired() -> Answer:
    """Older than what the barrier remembers (B6)."""
    return Answer(outcome="expired")


def stuck(reason: str = "needs an operator") -> Answer:
    """Of a child: it needs an operator (K4)."""
    return Answer(outcome=STUCK, reason=reason)
