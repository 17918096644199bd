"""Retrying and compensating: A3."""

from __future__ import annotations

import pytest

from amends.coordinator import arg, group, pivot, step
from tests.saga import story as s
from tests.saga.story import (
    HOUR,
    compensate,
    deadline,
    do,
    done,
    failed,
    fence,
    internal_error,
    never,
    refused,
    retry,
    skip,
    tell,
    undo,
)
from tests.saga.stuck_stories import refusal, running, stuck_before, stuck_forward, stuck_undo

# A3: retry


def test_a3_retry_raises_the_round_of_stuck_steps():
    story = stuck_undo()

    story.when(retry())

    assert story.commands == [undo("a")]
    assert (story.sent[0].round, story.sent[0].attempt) == (2, 3)
    assert story.status == "compensating"
    assert story.step("a").spent == 0
    assert story.step("a").since == story.now


def test_a3_retry_makes_everything_outstanding_due_again_in_its_round():
    story = tell(
        pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y", timeout="10m"))
    ).given(p=done()).given(a=refused())  # fmt: skip
    assert story.status == "stuck"

    story.when(retry())

    assert {(send.path, send.round) for send in story.sent} == {("a", 2), ("b", 1)}


def test_a3_retry_of_one_stuck_step_leaves_the_other():
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y"))).given(p=done())
    story.given(a=refused(), b=refused())

    assert story.when(retry("b")).commands == [do("b")]
    assert story.when(b=done()).status == "stuck"
    assert story.phase("a") == "stuck"


def test_a3_retry_acts_on_replies_recorded_meanwhile():
    story = tell(
        pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y", timeout="10m"))
    ).given(p=done()).given(a=refused()).given(b=done())  # fmt: skip

    assert story.when(retry()).commands == [do("a")]
    assert story.when(a=done()).status == "completed"


def test_a3_a_retried_step_may_resolve_what_was_missing_no_better():
    story = tell(pivot(step("p", to="x")), step("mail", to="mail", args=arg.address), input={}).given(
        p=done()
    )
    assert story.status == "stuck"

    story.when(retry())

    assert story.status == "stuck"
    assert story.commands == []


def test_a3_on_a_saga_that_is_not_stuck_retry_ends_the_back_off():
    story = running().given(b=failed())

    assert story.when(retry()).commands == [do("b")]
    assert story.step("b").round == 1


def test_a3_on_a_saga_that_is_not_stuck_retry_asks_a_stuck_step_anew():
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y"))).given(p=done())
    story.given(a=refused())

    story.when(retry())

    assert story.commands == [do("a")]
    assert story.step("a").round == 2


def test_a3_with_nothing_to_retry_it_is_refused_and_says_what_is_under_way():
    assert "under way are b (do)" in refusal(running(), retry())
    assert "under way are b (do)" in refusal(running(), retry("a"))


def test_a3_a_retry_may_set_a_new_deadline():
    story = running()

    story.when(retry(deadline=48 * HOUR))

    assert story.saga.deadline == story.now + 48 * HOUR
    assert story.commands == []


def test_a3_a_deadline_that_has_passed_is_refused():
    assert "has passed already" in refusal(running(), retry(deadline=0))


def test_a3_a_deadline_that_applies_to_nothing_is_refused():
    assert "no deadline applies" in refusal(stuck_undo(), retry(deadline=HOUR))
    assert "no deadline applies" in refusal(stuck_forward(), retry(deadline=HOUR))


def test_a3_past_its_deadline_a_stuck_saga_is_not_retried_just_to_turn_back():
    story = stuck_before()
    story.given(deadline())

    assert "retry with a new deadline, or compensate" in refusal(story, retry())
    assert story.when(retry(deadline=HOUR)).commands == [do("b")]


def test_a3_a_round_is_shared_by_the_step_s_ops():
    story = stuck_before().given(retry())

    story.when(b=refused(certain=False))

    assert story.commands == [undo("b")]
    assert story.sent[0].round == 2


# A3: compensate


def test_a3_compensate_turns_back_at_once():
    story = running()

    assert story.when(compensate()).commands == [undo("b")]
    assert story.saga.cause == "compensated by ann: because"


def test_a3_compensate_moves_a_stuck_saga():
    story = stuck_before()

    assert story.when(compensate()).commands == [undo("b")]
    assert story.status == "compensating"


def test_a3_compensate_acts_on_replies_recorded_meanwhile():
    story = running().given(internal_error()).given(b=refused("declined"))

    story.when(compensate())

    assert story.commands == [undo("a")]
    assert story.saga.cause == "step 'b' was refused: declined"


def test_a3_compensate_after_the_pivot_is_refused():
    assert "has passed its point of no return" in refusal(stuck_forward(), compensate())


def test_a3_compensate_is_refused_if_the_pivot_turns_out_to_be_passed():
    story = tell(pivot(step("p", to="x")), step("mail", to="mail")).given(internal_error()).given(p=done())

    assert "has passed its point of no return" in refusal(story, compensate())
    assert story.when(retry()).commands == [do("mail")]


def test_a3_compensate_on_a_saga_that_compensates_is_refused():
    assert "stuck are a" in refusal(stuck_undo(), compensate())


def test_a3_compensate_while_the_pivot_is_being_asked_is_refused():
    story = tell(pivot(step("p", to="x"))).given(compensate())

    assert "is being asked already" in refusal(story, compensate())


def test_a3_compensate_with_the_pivot_stuck_asks_it():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x"))).given(a=done())
    story.given(p=refused(certain=False))

    assert story.when(compensate()).commands == [fence("p")]
    assert story.when(p=refused()).commands == [undo("a")]


# Any act


@pytest.mark.parametrize("act", [retry(), skip("a"), compensate()])
def test_an_ended_saga_refuses_every_act(act: s.Happening):
    story = running().given(b=done())

    assert "it is completed" in refusal(story, act)


def test_what_an_operator_did_replays_like_everything_else():
    story = stuck_undo().given(retry()).given(a=refused()).given(skip("a")).given(a=never(in_doubt=True))

    assert story.replayed() == story.saga
