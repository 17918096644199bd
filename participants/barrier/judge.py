"""What the barrier's rows say to a command: rules B1 to B5 without any I/O.

Each function gets the rows as they stand, locked as the rules demand, and gives either the answer or Run: the
handler is to run now, under the held row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from amends.outbox.wire import Outcome
from amends.participants.barrier.answers import NULL, Answer, failed
from amends.participants.barrier.rows import BarrierRow, Stand

FENCED: Final = "fenced: it may never run"
UNDONE: Final = "already undone or closed"
NOT_DONE: Final = "not done: nothing to confirm"
ENDED: Final = (
    "in doubt: an earlier run of the handler ended the worker's transaction, see HandlerEndedTransaction"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run the handler, with these args and this result.

    `certain=False`: something before may have happened, though nobody can say so. `calls` counts external calls.
    """

    args: bytes = NULL
    result: bytes | None = None
    certain: bool = True
    calls: int = 0


def judge_do(
    row: BarrierRow, undo: BarrierRow | None, *, command_round: int, args: bytes, external: bool
) -> Answer | Run:
    """B1, B5: a `do` row stands, and is locked; `undo` was read after that."""
    if row.stand is Stand.NEVER:
        return Answer(outcome=Outcome.REFUSED, reason=FENCED, repeated=True)
    if undo is not None:
        return Answer(outcome=Outcome.REFUSED, reason=UNDONE, certain=not row.in_doubt, repeated=True)
    if row.stand is Stand.DONE:
        return _again(row, command_round)
    if row.stand is Stand.REFUSED:
        if row.final or command_round <= row.round:
            return _again(row, command_round)
        return Run(args=args, certain=row.certain, calls=row.calls)
    if row.leased:
        return under_way(row)
    # An internal handler is never called over a row in doubt: what it did before may stand.
    return Run(args=args, certain=False, calls=row.calls) if external else failed(ENDED, spent=True)


def judge_undo(own: BarrierRow | None, do: BarrierRow | None) -> Answer | Run:
    """B2: the undo row stands as `own` (None: just inserted), then the do row was locked (None: `never` inserted)."""
    if own is not None:
        return _stood(own)
    if do is None or do.stand is Stand.NEVER:
        return Answer(outcome=Outcome.NOTHING, durable=True)
    if do.stand is Stand.DONE:
        return Run(args=do.args or NULL, result=do.result)
    if do.leased:
        return under_way(do)
    if do.in_doubt:
        return Run(args=do.args or NULL, certain=False)
    return Answer(outcome=Outcome.NOTHING, durable=True)


def judge_confirm(own: BarrierRow | None, do: BarrierRow | None, undo: BarrierRow | None) -> Answer | Run:
    """B3: the confirm row stands as `own` (None: just inserted)."""
    if own is not None:
        return _stood(own)
    if do is None or do.stand is not Stand.DONE:
        return Answer(outcome=Outcome.REFUSED, reason=NOT_DONE)
    if undo is not None:
        return Answer(outcome=Outcome.REFUSED, reason=UNDONE)
    return Run(args=do.args or NULL, result=do.result)


def judge_fence(row: BarrierRow, command_round: int, *, closing: bool) -> Answer:
    """B3, B5: a fence of `do` met a standing, locked row. Durable if it makes the row final."""
    if row.stand is Stand.CALLING:
        if not closing:
            return Answer(outcome=Outcome.UNKNOWN, reason="an external call is in doubt")
        if row.leased:
            return under_way(row)
    if row.stand is Stand.NEVER:
        return Answer(outcome=Outcome.NEVER, repeated=True)
    return replace(_again(row, command_round), durable=row.stand is not Stand.DONE and not row.final)


def judge_closing(own: BarrierRow | None, do: BarrierRow | None) -> Answer:
    """B3: a closing fence of undo or confirm met `own` (None: it has just written `never`) and the do row.

    Of a handler that ended our transaction nobody knows what it did: closed, and in doubt.
    """
    if do is not None and do.leased:
        return under_way(do)
    in_doubt = do is not None and do.in_doubt
    if own is None or own.stand is Stand.CALLING:
        return Answer(outcome=Outcome.NEVER, in_doubt=in_doubt or own is not None, durable=True)
    return replace(_stood(own), in_doubt=in_doubt)


def under_way(row: BarrierRow) -> Answer:
    """An external call is leased: ask again when the lease is over (B5)."""
    return failed(
        "an external call is under way", spent=False, retry_after_s=round(row.lease_left_s + 0.1, 1)
    )


def _again(row: BarrierRow, command_round: int) -> Answer:
    """Resend what a do row says; a lapsed call counts as a refusal in doubt."""
    return Answer(
        outcome=Outcome.DONE if row.stand is Stand.DONE else Outcome.REFUSED,
        result=(row.result or NULL) if row.stand is Stand.DONE else NULL,
        reason=row.reason,
        certain=not row.in_doubt,
        ran_in_round=row.round if row.round != command_round else None,
        repeated=True,
        holds=row.holds,
    )


def _stood(own: BarrierRow) -> Answer:
    """Resend what an undo or confirm row says."""
    if own.stand is Stand.CALLING:
        return failed(ENDED, spent=True)
    outcome = {Stand.DONE: Outcome.DONE, Stand.NOTHING: Outcome.NOTHING}.get(own.stand, Outcome.NEVER)
    return Answer(outcome=outcome, repeated=True)
