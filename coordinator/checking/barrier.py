"""What a participant does with a command: the barrier's rules (B1 to B3, B5), and how often its handlers took effect.

Every commit is atomic: a command is obeyed as a whole, or not at all. The checker and the simulator both obey here.
"""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op

_ASK_AGAIN_MS: Final = 1_000


class Row(NamedTuple):
    """One step instance at its participant: the barrier's rows, and how often its handlers took effect.

    `do` is empty, done, refused, never or calling; `undo` empty, done, nothing or never; `confirm` empty, done or
    never. `call` names the external call that was announced last, leased until `until`; `calls` counts them.
    """

    do: str = ""
    round: int = 0
    certain: bool = True
    final: bool = False
    result: Json = None
    call: int = 0
    until: int = 0
    calls: int = 0
    undo: str = ""
    confirm: str = ""
    effects: int = 0
    undone: int = 0
    confirmed: int = 0

    def leased(self, now: int) -> bool:
        """Whether an external call is under way."""
        return self.do == "calling" and self.until > now

    def in_doubt(self, now: int) -> bool:
        """It may have happened, though nobody can say so."""
        lapsed = self.do == "calling" and self.until <= now
        return lapsed or (self.do == "refused" and not self.certain)


def stands(row: Row, send: Send, now: int = 0) -> tuple[Row, Replied] | None:
    """What is answered without a handler, and the rows after that. None: the handler is to run."""
    match send.op:
        case Op.DO:
            return _do_stands(row, send, now)
        case Op.UNDO:
            return _undo_stands(row, send, now)
        case Op.CONFIRM:
            return _confirm_stands(row, send)
        case Op.FENCE if send.closes is Op.UNDO:
            return _close_undo(row, send, now)
        case Op.FENCE if send.closes is Op.CONFIRM:
            row = row._replace(confirm=row.confirm or "never")
            return row, answer(send, Outcome(row.confirm))
        case Op.FENCE:
            return _fence(row, send, now)
        case _:
            assert_never(send.op)


def ran(row: Row, send: Send, *, refuse: bool, result: Json = None, now: int = 0) -> tuple[Row, Replied]:
    """The handler ran, and refused or not: the rows after that, and the answer."""
    match send.op:
        case Op.DO:
            return _settled(row, send, refuse=refuse, result=result, certain=is_first(row))
        case Op.UNDO:
            if refuse:
                return row, answer(send, Outcome.REFUSED)  # Stores nothing.
            if row.in_doubt(now):
                row = row._replace(do="refused", certain=False, final=True)
            return row._replace(undo="done", undone=row.undone + 1), answer(send, Outcome.DONE)
        case _:
            if refuse:
                return row, answer(send, Outcome.REFUSED)
            return row._replace(confirm="done", confirmed=row.confirmed + 1), answer(send, Outcome.DONE)


def is_first(row: Row) -> bool:
    """Whether nothing that came before can have happened, so that a refusal is certain (M2, B5)."""
    return row.do == "" or (row.do == "refused" and row.certain)


# External calls (B5)


def intend(row: Row, send: Send, *, call: int, until: int) -> Row:
    """Announce an external call."""
    return row._replace(do="calling", round=send.round, call=call, until=until, calls=row.calls + 1)


def conclude(
    row: Row, send: Send, *, call: int, refuse: bool, certain: bool, result: Json = None
) -> tuple[Row, Replied] | None:
    """Store what a call came to, over its own announcement only. None: that stands no more."""
    if row.do != "calling" or row.call != call:
        return None
    return _settled(row, send, refuse=refuse, result=result, certain=certain)


def give_up(row: Row, *, call: int) -> Row:
    """A call failed: it is in doubt, and the next attempt may make it again at once."""
    return row._replace(until=0) if row.do == "calling" and row.call == call else row


# The checker's view: no external calls


def runs_handler(row: Row, send: Send) -> bool:
    """Whether a command comes to its handler; otherwise what stands is answered."""
    return stands(row, send) is None


def obey(row: Row, send: Send, *, refuse: bool) -> tuple[Row, Replied]:
    """The participant's rows after a command, and its answer. `refuse` is what the handler does, if it is run."""
    return stands(row, send) or ran(row, send, refuse=refuse)


def answer(
    send: Send,
    outcome: Outcome,
    *,
    result: Json = None,
    certain: bool = True,
    spent: bool = True,
    retry_after: int | None = None,
    ran_in_round: int | None = None,
    in_doubt: bool = False,
) -> Replied:
    """An answer to a command, in its round."""
    return Replied(
        path=send.path,
        op=send.op,
        round=send.round,
        attempt=send.attempt,
        outcome=outcome,
        result=result,
        reason=outcome.value,
        certain=certain,
        spent=spent,
        retry_after=retry_after,
        closes=send.closes,
        ran_in_round=ran_in_round,
        in_doubt=in_doubt,
    )


def _do_stands(row: Row, send: Send, now: int) -> tuple[Row, Replied] | None:
    if row.do == "":
        return None  # An undo row never stands without its do row, so there is none to read.
    if row.do == "never":
        return row, answer(send, Outcome.REFUSED)
    if row.undo:
        return row, answer(send, Outcome.REFUSED, certain=not row.in_doubt(now))
    if row.do == "done":
        return row, answer(send, Outcome.DONE, result=row.result, ran_in_round=row.round)
    if row.do == "refused" and (row.final or send.round <= row.round):
        return row, answer(send, Outcome.REFUSED, certain=row.certain)
    return (row, _under_way(send)) if row.leased(now) else None


def _settled(row: Row, send: Send, *, refuse: bool, result: Json, certain: bool) -> tuple[Row, Replied]:
    if refuse:
        after = row._replace(do="refused", round=send.round, certain=certain, until=0)
        return after, answer(send, Outcome.REFUSED, certain=certain)
    after = row._replace(do="done", round=send.round, result=result, effects=row.effects + 1, until=0)
    return after, answer(send, Outcome.DONE, result=result)


def _undo_stands(row: Row, send: Send, now: int) -> tuple[Row, Replied] | None:
    if row.undo:
        return row, answer(send, Outcome(row.undo))
    if row.leased(now):
        return row, _under_way(send)
    if row.do == "done" or row.in_doubt(now):
        return None
    return row._replace(undo="nothing", do=row.do or "never"), answer(send, Outcome.NOTHING)


def _confirm_stands(row: Row, send: Send) -> tuple[Row, Replied] | None:
    if row.confirm:
        return row, answer(send, Outcome(row.confirm))
    if row.do != "done" or row.undo:
        return row, answer(send, Outcome.REFUSED)
    return None


def _close_undo(row: Row, send: Send, now: int) -> tuple[Row, Replied]:
    if row.leased(now):
        return row, _under_way(send)
    in_doubt = row.in_doubt(now)
    if in_doubt and row.do == "calling":
        row = row._replace(do="refused", certain=False, final=True)
    row = row._replace(undo=row.undo or "never", do=row.do or "never")
    return row, answer(send, Outcome(row.undo), in_doubt=in_doubt)


def _fence(row: Row, send: Send, now: int) -> tuple[Row, Replied]:
    if row.do == "calling":
        if send.closes is None:
            return row, answer(send, Outcome.UNKNOWN)
        if row.leased(now):
            return row, _under_way(send)
        row = row._replace(do="refused", certain=False)
    row = row._replace(do=row.do or "never", final=True)
    return row, answer(send, Outcome(row.do), result=row.result, certain=not row.in_doubt(now))


def _under_way(send: Send) -> Replied:
    """An external call is leased: ask again when the lease is over."""
    return answer(send, Outcome.FAILED, spent=False, retry_after=_ASK_AGAIN_MS)
