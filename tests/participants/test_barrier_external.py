"""The barrier, one command after the other: external calls (B5), on PostgreSQL and on SQLite."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.outbox.wire import Op, Outcome
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import Intent
from amends.participants.errors import Refused
from tests.participants.crossing import Ran, Step


def intent(found: Answer | Intent) -> Intent:
    assert isinstance(found, Intent)
    return found


def test_an_external_call_is_announced_before_it_is_made(database: Engine) -> None:
    step = Step(database)

    announced = intent(step.intend())
    seen = step.rows()
    answer = step.conclude(announced, b"1")

    assert seen == {"do": "calling"}
    assert (answer.outcome, answer.result, answer.durable) == (Outcome.DONE, b"1", True)
    assert step.rows() == {"do": "done"}


@pytest.mark.parametrize("op", [Op.DO, Op.UNDO, Op.FENCE])
def test_while_an_external_call_is_leased_others_are_told_to_come_again(database: Engine, op: Op) -> None:
    step = Step(database)
    intent(step.intend(lease_s=60))
    undo = Ran()

    answer = {Op.DO: step.intend, Op.UNDO: lambda: step.undo(undo), Op.FENCE: lambda: step.fence(Op.UNDO)}[
        op
    ]()

    assert isinstance(answer, Answer)
    assert (answer.outcome, answer.spent, answer.durable) == (Outcome.FAILED, False, False)
    assert answer.retry_after_s == pytest.approx(60, abs=2)
    assert not undo.runs
    assert step.rows() == {"do": "calling"}


def test_a_lapsed_call_is_made_again_and_its_refusal_is_uncertain(database: Engine) -> None:
    """Refusal after an unknown external call (M2, B5). Seen to fail without `and run.certain` in `_refusal`."""
    step = Step(database)
    intent(step.intend(lease_s=-1))

    second = intent(step.intend())
    answer = step.conclude(second, Refused("already cancelled"))

    assert (answer.outcome, answer.certain) == (Outcome.REFUSED, False)
    assert step.row().calls == 2
    undo = Ran()
    assert step.undo(undo).outcome is Outcome.DONE
    assert [run.certain for run in undo.runs] == [False]


def test_a_first_calls_refusal_is_certain(database: Engine) -> None:
    step = Step(database)

    answer = step.conclude(intent(step.intend()), Refused("card declined"))

    assert (answer.outcome, answer.certain) == (Outcome.REFUSED, True)


def test_a_failed_call_may_be_made_again_at_once(database: Engine) -> None:
    step = Step(database)
    step.give_up(intent(step.intend(lease_s=60)))

    again = intent(step.intend())

    assert (again.run.certain, again.run.calls) == (False, 1)


def test_an_outcome_is_stored_only_over_ones_own_lease(database: Engine) -> None:
    """Seen to fail without the token in the statement `own`: the slow call would overwrite the second one's."""
    step = Step(database)
    slow = intent(step.intend(lease_s=-1))
    second = intent(step.intend())

    early = step.conclude(slow, b'"slow"')
    stored = step.conclude(second, b'"second"')
    late = step.conclude(slow, Refused("slow"))

    assert (early.outcome, early.spent) == (Outcome.FAILED, False)
    assert stored.result == late.result == b'"second"'
    assert late.durable is False


def test_a_closing_fence_makes_a_lapsed_call_a_final_refusal_in_doubt(database: Engine) -> None:
    step = Step(database)
    slow = intent(step.intend(lease_s=-1))

    fenced = step.fence(Op.DO)
    late = step.conclude(slow, b'"slow"')
    retried = step.intend(round=2)

    assert (fenced.outcome, fenced.certain, fenced.durable) == (Outcome.REFUSED, False, True)
    assert (late.outcome, late.certain) == (Outcome.REFUSED, False)
    assert isinstance(retried, Answer)
    assert retried.outcome is Outcome.REFUSED


@pytest.mark.parametrize("lease_s", [60, -1])
def test_a_pivots_fence_over_a_call_answers_unknown_and_writes_nothing(
    database: Engine, lease_s: float
) -> None:
    step = Step(database)
    announced = intent(step.intend(lease_s=lease_s))

    answer = step.fence()

    assert (answer.outcome, answer.durable) == (Outcome.UNKNOWN, False)
    assert step.conclude(announced, b"1").outcome is Outcome.DONE


def test_an_undo_voids_a_lapsed_call_and_its_late_outcome_is_not_believed(database: Engine) -> None:
    """Seen to fail without the finalize in `Barrier.undo`: the late outcome would be stored after the undo."""
    step = Step(database)
    slow = intent(step.intend(lease_s=-1))
    undo = Ran()

    undone = step.undo(undo)
    late = step.conclude(slow, b'"slow"')

    assert undone.outcome is Outcome.DONE
    assert [(run.certain, run.args) for run in undo.runs] == [(False, b'"the args"')]
    assert late.outcome is Outcome.REFUSED
    assert step.rows() == {"do": "refused", "undo": "done"}
