"""The barrier on PostgreSQL and on SQLite: handlers that end our transaction (B4), sagas too old to tell (B6)."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.store import Expired
from amends.participants.errors import HandlerEndedTransaction, Refused
from tests.participants.crossing import DAY_S, Ran, Step

# B4: the handler ends our transaction


@pytest.mark.parametrize("op", [Op.DO, Op.UNDO, Op.CONFIRM])
def test_a_handler_that_commits_behind_our_back_is_never_done(database: Engine, op: Op) -> None:
    """Seen to fail with the row inserted as `done` instead of `calling` in `Barrier._judge_do` and its siblings."""
    step = Step(database)
    if op is not Op.DO:
        step.do()
    through = {Op.DO: step.do, Op.UNDO: step.undo, Op.CONFIRM: step.confirm}[op]

    def committing(_run: object, connection: object) -> bytes:
        connection.connection.driver_connection.commit()  # type: ignore[attr-defined]
        return b"1"

    with pytest.raises(HandlerEndedTransaction):
        through(committing)

    again = Ran()
    answer = through(again)
    assert step.rows()[op] == "calling"
    assert (answer.outcome, answer.spent) == (Outcome.FAILED, True)
    assert "in doubt" in answer.reason
    assert not again.runs


def test_what_a_handler_left_in_doubt_is_undone_as_such_and_can_be_closed(database: Engine) -> None:
    undone, closed = Step(database), Step(database)
    for step in (undone, closed):
        step.do(Ran(raises=Refused("no")))
        step.change_row(Op.DO, outcome="calling")
    undo = Ran()

    assert undone.undo(undo).outcome is Outcome.DONE
    assert [run.certain for run in undo.runs] == [False]
    assert (closed.fence(Op.DO).outcome, closed.fence(Op.DO).certain) == (Outcome.REFUSED, False)


def test_an_undo_left_in_doubt_can_be_closed(database: Engine) -> None:
    step = Step(database)
    step.do()
    step.fence(Op.UNDO)
    step.change_row(Op.UNDO, outcome="calling")

    answer = step.fence(Op.UNDO)

    assert (answer.outcome, answer.in_doubt) == (Outcome.NEVER, True)
    assert step.rows()["undo"] == "never"


# B6: too old to tell


@pytest.mark.parametrize("op", [Op.DO, Op.UNDO, Op.CONFIRM, Op.FENCE])
def test_a_command_older_than_the_barriers_memory_is_expired_and_leaves_no_row(
    database: Engine, op: Op
) -> None:
    """Seen to fail without the WHERE of the statement `insert`."""
    step = Step(database, retention_s=10 * DAY_S, age_s=9.1 * DAY_S)
    through = {Op.DO: step.do, Op.UNDO: step.undo, Op.CONFIRM: step.confirm, Op.FENCE: step.fence}[op]

    with pytest.raises(Expired):
        through()

    assert step.rows() == {}


def test_an_old_saga_whose_rows_are_there_goes_on(database: Engine) -> None:
    step = Step(database, retention_s=10 * DAY_S, age_s=8 * DAY_S)
    step.do()
    step.started_at -= int(5 * DAY_S * 1000)
    undo = Ran()

    done, undone = step.do(), step.undo(undo)

    assert (done.outcome, undone.outcome) == (Outcome.DONE, Outcome.DONE)
    assert len(undo.runs) == 1
