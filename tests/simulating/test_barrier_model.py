"""The model of the barrier, which checker, explorer and simulator obey, says what the participants' barrier says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from amends.coordinator.checking.barrier import Row, stands
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.state import Op
from amends.outbox.wire import Outcome
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.judge import (
    Run,
    judge_closing,
    judge_confirm,
    judge_do,
    judge_fence,
    judge_undo,
)
from amends.participants.barrier.rows import BarrierRow, Stand

NOW = 1_000
ROUND = 2
ASKED = (
    (Op.DO, None),
    (Op.UNDO, None),
    (Op.CONFIRM, None),
    (Op.FENCE, None),
    (Op.FENCE, Op.DO),
    (Op.FENCE, Op.UNDO),
    (Op.FENCE, Op.CONFIRM),
)


def do_rows() -> Iterator[Row]:
    """Everything that can stand for a `do`, in an older round, this one and a newer one."""
    yield Row()
    for round_ in (ROUND - 1, ROUND, ROUND + 1):
        yield Row(do="never", round=round_, final=True)
        yield Row(do="done", round=round_)
        for certain, final in product((True, False), repeat=2):
            yield Row(do="refused", round=round_, certain=certain, final=final)
        yield Row(do="calling", round=round_, call=1, calls=1, until=NOW + 5_000)
        yield Row(do="calling", round=round_, call=1, calls=1, until=0)


def rows() -> Iterator[Row]:
    """With what can stand for undo and confirm beside it; there is no undo row without a do row."""
    for row in do_rows():
        for undo, confirm in product(("", "done", "nothing", "never"), ("", "done", "never")):
            if row.do or not undo:
                yield row._replace(undo=undo, confirm=confirm)


def real(stand: str, row: Row) -> BarrierRow | None:
    """One of the rows as the participant has it."""
    if not stand:
        return None
    if stand != row.do:
        return BarrierRow(round=ROUND, stand=Stand(stand))
    left = (row.until - NOW) / 1000 if stand == "calling" else 0.0
    return BarrierRow(
        round=row.round, stand=Stand(stand), certain=row.certain, final=row.final, lease_left_s=left
    )


def judged(row: Row, op: Op, closes: Op | None) -> Answer | Run:
    """What the participants' barrier says to this command: which rows it reads is in `Barrier`."""
    do = real(row.do, row)
    undo, confirm = (
        BarrierRow(round=ROUND, stand=Stand(stand)) if stand else None for stand in (row.undo, row.confirm)
    )
    match op, closes:
        case Op.DO, _:
            if do is None:
                return Run()
            return judge_do(do, undo, command_round=ROUND, args=b"null", external=True)
        case Op.UNDO, _:
            return judge_undo(undo, None if undo is not None else do)
        case Op.CONFIRM, _:
            return judge_confirm(confirm, do, undo)
        case _, Op.UNDO:
            return judge_closing(undo, do)
        case _, Op.CONFIRM:
            return judge_closing(confirm, None)
        case _:
            if do is None:
                return Answer(outcome=Outcome.NEVER)
            return judge_fence(do, ROUND, closing=closes is not None)


@pytest.mark.parametrize(("op", "closes"), ASKED)
def test_the_model_says_what_the_barrier_says(op: Op, closes: Op | None):
    """For every combination of rows. Guards: each line of `checking/barrier.py`, and of `judge.py` as well."""
    send = Send(
        path="a",
        participant="p",
        op=op,
        command="c",
        round=ROUND,
        attempt=1,
        args=None,
        timeout=1,
        closes=closes,
    )
    differ = []
    for row in rows():
        stood, verdict = stands(row, send, NOW), judged(row, op, closes)
        if isinstance(verdict, Run) or stood is None:
            same = isinstance(verdict, Run) and stood is None
        else:
            _, reply = stood
            said = (verdict.outcome.value, verdict.certain, verdict.spent, verdict.in_doubt)
            same = said == (reply.outcome.value, reply.certain, reply.spent, reply.in_doubt)
        if not same:
            differ.append((row, verdict, stood))

    assert differ == []
