"""Stuck sagas: C3, invariant 15."""

from __future__ import annotations

import pytest

from amends.coordinator import group, pivot, step
from amends.coordinator.saga.state import Op
from tests.saga import story as s
from tests.saga.story import (
    MINUTE,
    Story,
    admitted,
    compensate,
    deadline,
    do,
    done,
    failed,
    internal_error,
    never,
    nothing,
    refused,
    retry,
    skip,
    tell,
    timer,
    undo,
)


def two_undos(**b: object) -> Story:
    """Both branches are being undone."""
    return tell(
        step("first", to="x", undo="u"),
        group(step("a", to="x", undo="u"), step("b", to="y", undo="u", **b)),
        step("last", to="x", undo="u"),
    ).given(first=done()).given(a=done(), b=done()).given(last=refused())  # fmt: skip


def stuck_undo() -> Story:
    """One step, done; its undo was refused."""
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done(), b=refused())
    return story.given(a=refused("account closed"))


def test_c3_a_refused_undo_is_told_at_once_with_its_step_and_reason():
    story = two_undos()

    story.when(a=refused("account closed"))

    assert story.stuck == ["a"]
    assert "account closed" in story.step("a").error
    assert [step.path for step in story.saga.stuck_steps] == ["a"]


def test_c3_a_stuck_step_is_told_once():
    story = two_undos().given(a=refused("first"))

    story.when(a=refused("second"))

    assert story.stuck == []
    assert "first" in story.step("a").error


def test_c3_siblings_go_on_and_then_the_saga_is_stuck():
    story = two_undos().given(a=refused())
    assert story.status == "compensating"

    assert story.when(timer("b")).when(timer("b")).commands == [undo("b")]
    story.when(b=done())

    assert story.status == "stuck"
    assert story.commands == []


def test_c3_what_is_due_within_a_minute_is_waited_for():
    story = two_undos(undo_timeout="60s")

    assert story.when(a=refused()).status == "compensating"


def test_c3_what_is_due_later_is_not():
    story = two_undos(undo_timeout="61s")

    assert story.when(a=refused()).status == "stuck"


def test_c3_a_long_pause_makes_the_status_stuck_when_it_begins():
    story = two_undos().given(a=refused())

    assert story.when(b=failed(retry_after=10 * MINUTE)).status == "stuck"


def test_c3_what_is_parked_is_waited_for():
    story = two_undos().holding("y.undo").given(timer("b"), timer("b"))
    assert story.phase("b") == "parked"

    assert story.when(a=refused()).status == "compensating"
    assert story.when(admitted("b")).commands == [undo("b")]


def test_c3_timers_of_a_stuck_saga_do_nothing():
    story = two_undos(undo_timeout="2m").given(a=refused())
    assert story.status == "stuck"

    assert story.when(timer("b")).changes == 0
    assert story.when(deadline()).changes == 0
    assert story.when(admitted("b")).changes == 0


def test_c3_a_stuck_saga_records_late_replies_and_moves_nothing():
    story = two_undos(undo_timeout="2m").given(a=refused())

    story.when(b=done())

    assert story.changes == 1
    assert story.commands == []
    assert story.phase("b") == "awaiting"
    assert story.status == "stuck"
    assert story.when(b=done()).changes == 0


def test_c3_a_failure_is_not_worth_recording():
    story = two_undos(undo_timeout="2m").given(a=refused())

    assert story.when(b=failed()).changes == 0


def test_c3_a_recorded_done_is_not_replaced():
    story = two_undos(undo_timeout="2m").given(a=refused(), b=done())

    assert story.when(b=refused()).changes == 0


def test_c3_a_reply_that_does_not_settle_a_stuck_step_changes_nothing():
    story = stuck_undo()

    assert story.when(a=refused("again")).changes == 0
    assert story.status == "stuck"


@pytest.mark.parametrize("answer", [done(), nothing()])
def test_c3_a_late_reply_that_settles_the_last_stuck_step_moves_the_saga(answer: s.Answer):
    story = stuck_undo()

    assert story.when(a=answer).status == "compensated"


def test_c3_a_late_reply_that_settles_one_of_two_is_kept():
    story = two_undos().given(a=refused(), b=refused())
    assert story.status == "stuck"

    story.when(a=done())
    assert story.status == "stuck"
    assert [step.path for step in story.saga.stuck_steps] == ["b"]

    assert story.when(b=done()).commands == [undo("first")]
    assert story.status == "compensating"


def test_c3_leaving_stuck_it_first_evaluates_what_it_recorded():
    story = two_undos(undo_timeout="2m").given(a=refused(), b=done())

    story.when(a=done())

    assert story.commands == [undo("first")]
    assert story.phase("b") == "settled"


def test_c3_leaving_stuck_everything_outstanding_is_due_again():
    story = two_undos(undo_timeout="2m").given(a=refused()).after(30 * 24 * s.HOUR)

    story.when(retry())

    assert sorted(story.commands) == [undo("a"), undo("b")]
    assert story.step("b").since == story.now
    assert story.when(b=failed()).phase("b") == "backoff"


def test_c3_leaving_stuck_what_was_evaluated_is_not_sent_twice():
    story = tell(
        pivot(step("p", to="x")),
        group(step("a", to="x"), step("b", to="y", timeout="10m")),
        step("c", to="z"),
    ).given(p=done())  # fmt: skip
    story.given(a=refused()).given(b=done())
    assert story.status == "stuck"

    assert story.when(a=done()).commands == [do("c")]


def test_c3_a_refusal_recorded_before_the_pivot_turns_back_when_the_saga_moves():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="y", undo="u"))).given(internal_error())
    story.given(b=refused("declined"))

    story.when(retry())

    assert story.saga.cause == "step 'b' was refused: declined"
    assert story.commands == [undo("a")]


def test_c3_a_late_answer_of_the_do_is_noted_without_moving_anything():
    story = tell(step("a", to="x", undo="u")).given(compensate()).given(a=refused())
    assert story.status == "stuck"

    story.when(a=done({"id": 1}).to(Op.DO))

    assert story.status == "stuck"
    assert story.step("a").did == "done"


def test_c3_a_reply_of_an_older_round_settles_nothing():
    story = stuck_undo()
    late = story.reply("a", done())
    story.given(retry()).given(a=refused())

    assert story.when(late).changes == 0


def test_c3_going_forward_after_the_pivot_siblings_go_on_too():
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y"))).given(p=done())

    assert story.when(a=refused("no mailbox")).status == "running"
    assert story.stuck == ["a"]
    assert story.when(b=done()).status == "stuck"


def test_c3_a_skip_that_ends_in_doubt_settles_the_last_stuck_step():
    story = stuck_undo().given(skip("a"))

    assert story.when(a=never(in_doubt=True)).status == "compensated"
