"""What a participant does with a command: the barrier's rules (B1 to B3), and what really happened in its database.

Every commit is atomic: a command is obeyed as a whole, or not at all.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.state import Op


class Row(NamedTuple):
    """One step instance at its participant: the barrier's rows, and how often its handlers took effect.

    `do` is empty, done, refused or never; `undo` empty, done, nothing or never; `confirm` empty, done or never.
    """

    do: str = ""
    round: int = 0
    final: bool = False
    undo: str = ""
    confirm: str = ""
    effects: int = 0
    undone: int = 0
    confirmed: int = 0


def runs_handler(row: Row, send: Send) -> bool:
    """Whether a command comes to its handler; otherwise what stands is answered."""
    match send.op:
        case Op.DO:
            if row.undo or row.do in ("never", "done"):
                return False
            return row.do == "" or (not row.final and send.round > row.round)
        case Op.UNDO:
            return row.undo == "" and row.do == "done"
        case Op.CONFIRM:
            return row.confirm == "" and row.do == "done"
        case Op.FENCE:
            return False
        case _:
            assert_never(send.op)


def obey(row: Row, send: Send, *, refuse: bool) -> tuple[Row, Replied]:
    """The participant's rows after a command, and its answer. `refuse` is what the handler does, if it is run."""
    match send.op:
        case Op.DO:
            return _do(row, send, refuse)
        case Op.UNDO:
            return _undo(row, send, refuse)
        case Op.CONFIRM:
            return _confirm(row, send, refuse)
        case Op.FENCE if send.closes is Op.UNDO:
            row = row._replace(undo=row.undo or "never", do=row.do or "never")
            return row, answer(send, Outcome(row.undo))
        case Op.FENCE if send.closes is Op.CONFIRM:
            row = row._replace(confirm=row.confirm or "never")
            return row, answer(send, Outcome(row.confirm))
        case Op.FENCE:
            row = row._replace(do=row.do or "never", final=True)
            return row, answer(send, Outcome(row.do))
        case _:
            assert_never(send.op)


def answer(send: Send, outcome: Outcome, *, ran_in_round: int | None = None) -> Replied:
    """An answer to a command, in its round."""
    return Replied(
        path=send.path,
        op=send.op,
        round=send.round,
        attempt=send.attempt,
        outcome=outcome,
        reason=outcome.value,
        closes=send.closes,
        ran_in_round=ran_in_round,
    )


def _do(row: Row, send: Send, refuse: bool) -> tuple[Row, Replied]:
    if not runs_handler(row, send):
        if row.do == "done" and not row.undo:
            return row, answer(send, Outcome.DONE, ran_in_round=row.round)
        return row, answer(send, Outcome.REFUSED)
    if refuse:
        return row._replace(do="refused", round=send.round), answer(send, Outcome.REFUSED)
    return row._replace(do="done", round=send.round, effects=row.effects + 1), answer(send, Outcome.DONE)


def _undo(row: Row, send: Send, refuse: bool) -> tuple[Row, Replied]:
    if row.undo:
        return row, answer(send, Outcome(row.undo))
    if row.do != "done":
        return row._replace(undo="nothing", do=row.do or "never"), answer(send, Outcome.NOTHING)
    if refuse:
        return row, answer(send, Outcome.REFUSED)  # Stores nothing.
    return row._replace(undo="done", undone=row.undone + 1), answer(send, Outcome.DONE)


def _confirm(row: Row, send: Send, refuse: bool) -> tuple[Row, Replied]:
    if row.confirm:
        return row, answer(send, Outcome(row.confirm))
    if row.do != "done" or refuse:
        return row, answer(send, Outcome.REFUSED)
    return row._replace(confirm="done", confirmed=row.confirmed + 1), answer(send, Outcome.DONE)
