"""The barrier, one command after the other, on PostgreSQL and on SQLite (rules B1 to B3)."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.answers import Answer
from amends.participants.errors import Refused
from tests.participants.crossing import Ran, Step

# B1: do


def test_a_new_do_runs_in_the_transaction_that_stores_its_outcome(database: Engine) -> None:
    step = Step(database)
    handler = Ran(result=b'{"n":1}')

    answer = step.do(handler)

    assert answer == Answer(outcome=Outcome.DONE, result=b'{"n":1}', durable=True)
    assert (step.row().outcome, step.row().args, step.row().result) == ("done", b'"the args"', b'{"n":1}')
    assert handler.effects(database) == 1


def test_a_done_do_is_resent_with_the_round_it_ran_in(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(result=b"1"))
    second = Ran()

    answer = step.do(second, round=3, attempt=4)

    assert (answer.outcome, answer.result, answer.ran_in_round) == (Outcome.DONE, b"1", 1)
    assert (answer.durable, answer.repeated) == (False, True)
    assert not second.runs


def test_a_refusal_undoes_the_effect_and_is_stored_before_it_is_answered(database: Engine) -> None:
    step = Step(database)
    handler = Ran(raises=Refused("no stock"))

    answer = step.do(handler)

    assert (answer.outcome, answer.reason, answer.certain, answer.durable) == (
        Outcome.REFUSED,
        "no stock",
        True,
        True,
    )
    assert step.rows() == {"do": "refused"}
    assert handler.effects(database) == 0


def test_a_refusal_of_the_same_round_is_resent(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("no stock", certain=False)))
    second = Ran()

    answer = step.do(second, attempt=2)

    assert (answer.outcome, answer.reason, answer.certain) == (Outcome.REFUSED, "no stock", False)
    assert not second.runs


def test_a_refused_do_runs_again_in_a_higher_round(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("no stock")))

    answer = step.do(Ran(), round=2, args="edited")

    assert answer.outcome is Outcome.DONE
    assert (step.row().round, step.row().args, step.row().outcome) == (2, b'"edited"', "done")


def test_what_an_uncertain_refusal_left_in_doubt_stays_in_doubt_in_a_higher_round(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("who knows", certain=False)))

    answer = step.do(Ran(raises=Refused("no")), round=2)

    assert (answer.reason, answer.certain) == ("no", False)


def test_a_transient_error_leaves_no_row_and_no_effect(database: Engine) -> None:
    step = Step(database)
    handler = Ran(raises=ConnectionError("the line is down"))

    with pytest.raises(ConnectionError):
        step.do(handler)

    assert step.rows() == {}
    assert handler.effects(database) == 0


def test_a_do_after_its_undo_is_refused(database: Engine) -> None:
    """Seen to fail without `if undo is not None` in judge_do: round 2 of the refused do would run (invariant 4)."""
    step = Step(database)
    step.do(Ran(raises=Refused("no stock")))
    step.undo()
    late = Ran()

    answer = step.do(late, round=2)

    assert answer.outcome is Outcome.REFUSED
    assert not late.runs


# B2: undo


def test_an_undo_runs_with_the_args_and_the_result_of_its_do(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(result=b'{"n":1}'))
    undo = Ran()

    answer = step.undo(undo, args=None)

    assert answer.outcome is Outcome.DONE
    assert [(run.args, run.result, run.certain) for run in undo.runs] == [(b'"the args"', b'{"n":1}', True)]
    assert step.rows() == {"do": "done", "undo": "done"}


def test_an_undo_that_comes_first_keeps_its_do_from_ever_running(database: Engine) -> None:
    step = Step(database)
    undo, do = Ran(), Ran()

    undone, done = step.undo(undo), step.do(do)

    assert (undone.outcome, undone.durable) == (Outcome.NOTHING, True)
    assert (done.outcome, done.certain) == (Outcome.REFUSED, True)
    assert step.rows() == {"do": "never", "undo": "nothing"}
    assert not undo.runs
    assert not do.runs


def test_an_undo_of_a_certain_refusal_finds_nothing_to_undo(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("no stock")))
    undo = Ran()

    answer = step.undo(undo)

    assert answer.outcome is Outcome.NOTHING
    assert not undo.runs


def test_an_undo_of_an_uncertain_refusal_runs_and_is_told_so(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("who knows", certain=False)))
    undo = Ran()

    answer = step.undo(undo)

    assert answer.outcome is Outcome.DONE
    assert [run.certain for run in undo.runs] == [False]


@pytest.mark.parametrize("first", ["done", "refused", "none"])
def test_an_undo_comes_twice_and_runs_at_most_once(database: Engine, first: str) -> None:
    """Seen to fail without `if own is not None` in judge_undo."""
    step = Step(database)
    if first != "none":
        step.do(Ran(raises=Refused("no") if first == "refused" else None))
    undo = Ran()

    once, twice = step.undo(undo), step.undo(undo, attempt=2)

    assert once.outcome is twice.outcome
    assert (twice.durable, twice.repeated) == (False, True)
    assert len(undo.runs) == (1 if first == "done" else 0)


def test_a_refused_undo_stores_nothing(database: Engine) -> None:
    step = Step(database)
    step.do()
    undo = Ran(raises=Refused("too late"))

    with pytest.raises(Refused):
        step.undo(undo)

    assert step.rows() == {"do": "done"}
    assert undo.effects(database) == 0


# B3: fence and confirm


@pytest.mark.parametrize("closes", [None, Op.DO])
def test_a_fence_that_comes_first_says_never_and_means_it(database: Engine, closes: Op | None) -> None:
    step = Step(database)
    late = Ran()

    first, second, done = step.fence(closes), step.fence(closes), step.do(late)

    assert (first.outcome, first.durable) == (Outcome.NEVER, True)
    assert (second.outcome, second.durable) == (Outcome.NEVER, False)
    assert done.outcome is Outcome.REFUSED
    assert not late.runs


def test_a_fence_tells_what_was_done(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(result=b"1"))

    answer = step.fence(round=2)

    assert (answer.outcome, answer.result, answer.ran_in_round) == (Outcome.DONE, b"1", 1)


def test_a_retry_of_a_higher_round_does_not_run_after_its_refusal_was_fenced(database: Engine) -> None:
    """Seen to fail without `row.final or` in judge_do, and without the finalize in `Barrier.fence`."""
    step = Step(database)
    step.do(Ran(raises=Refused("no stock")))
    fenced = step.fence(Op.DO)
    late = Ran()

    answer = step.do(late, round=2)

    assert (fenced.outcome, fenced.reason, fenced.durable) == (Outcome.REFUSED, "no stock", True)
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, "no stock")
    assert not late.runs


def test_a_confirm_runs_once_with_what_its_do_left(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(result=b"1"))
    confirm = Ran()

    once, twice = step.confirm(confirm), step.confirm(confirm, attempt=2)

    assert (once.outcome, twice.outcome) == (Outcome.DONE, Outcome.DONE)
    assert [(run.args, run.result) for run in confirm.runs] == [(b'"the args"', b"1")]


@pytest.mark.parametrize("before", ["nothing", "refused", "undone"])
def test_a_confirm_is_refused_unless_its_do_is_done(database: Engine, before: str) -> None:
    step = Step(database)
    if before != "nothing":
        step.do(Ran(raises=Refused("no") if before == "refused" else None))
    if before == "undone":
        step.undo()
    confirm = Ran()

    answer = step.confirm(confirm)

    assert (answer.outcome, answer.durable) == (Outcome.REFUSED, False)
    assert not confirm.runs
    assert "confirm" not in step.rows()


def test_a_closing_fence_of_undo_keeps_the_undo_from_running(database: Engine) -> None:
    """An old undo arrives after the step was skipped (A1)."""
    step = Step(database)
    step.do()
    closed = step.fence(Op.UNDO)
    late = Ran()

    answer = step.undo(late)

    assert (closed.outcome, closed.in_doubt, closed.durable) == (Outcome.NEVER, False, True)
    assert answer.outcome is Outcome.NEVER
    assert not late.runs


def test_a_closing_fence_of_undo_tells_what_the_undo_did(database: Engine) -> None:
    step = Step(database)
    step.do()
    step.undo()

    assert step.fence(Op.UNDO).outcome is Outcome.DONE


def test_a_closing_fence_of_undo_tells_of_a_do_in_doubt(database: Engine) -> None:
    step = Step(database)
    step.do(Ran(raises=Refused("who knows", certain=False)))

    first, second = step.fence(Op.UNDO), step.fence(Op.UNDO)

    assert (first.outcome, first.in_doubt) == (Outcome.NEVER, True)
    assert (second.outcome, second.in_doubt) == (Outcome.NEVER, True)


def test_a_closing_fence_of_undo_that_comes_first_keeps_the_do_from_running_too(database: Engine) -> None:
    step = Step(database)
    step.fence(Op.UNDO)
    late = Ran()

    assert step.do(late).outcome is Outcome.REFUSED
    assert not late.runs


def test_a_closing_fence_of_confirm_keeps_the_confirm_from_running(database: Engine) -> None:
    step = Step(database)
    step.do()
    closed = step.fence(Op.CONFIRM)
    late = Ran()

    answer = step.confirm(late)

    assert (closed.outcome, answer.outcome) == (Outcome.NEVER, Outcome.NEVER)
    assert not late.runs
