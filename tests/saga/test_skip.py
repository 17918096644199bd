"""Skipping: A1, A2, A6."""

from __future__ import annotations

import pytest

from amends.coordinator import group, pivot, result, step
from amends.coordinator.saga.state import Op
from tests.saga import story as s
from tests.saga.story import (
    Answer,
    compensate,
    do,
    done,
    expired,
    failed,
    fence,
    never,
    nothing,
    refused,
    retry,
    skip,
    tell,
    timer,
    undo,
)
from tests.saga.stuck_stories import refusal, running, stuck_before, stuck_forward, stuck_undo

# A1: skip


@pytest.mark.parametrize("act", [skip("b"), retry("zz"), skip("zz")])
def test_an_act_on_what_is_not_there_or_not_stuck_is_refused(act: s.Happening):
    refusal(running(), act)


def test_a1_skip_needs_a_stuck_step_and_says_which_are():
    assert "stuck are a" in refusal(stuck_undo(), skip("b"))
    assert "only a stuck step can be skipped" in refusal(running(), skip("b"))


def test_a1_skip_needs_a_stuck_saga():
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y"))).given(p=done())
    story.given(a=refused())

    assert "other steps are still under way" in refusal(story, skip("a"))


def test_a1_skip_first_sends_a_closing_fence_for_the_outstanding_do():
    story = stuck_forward()

    story.when(skip("mail"))

    assert story.commands == [fence("mail", closes="do")]
    assert story.status == "running"
    assert story.saga.overrides == ()


def test_a1_skip_first_sends_a_closing_fence_for_the_outstanding_undo():
    story = stuck_undo()

    story.when(skip("a"))

    assert story.commands == [fence("a", closes="undo")]
    assert story.status == "compensating"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (never(), "never"),
        (refused(), "refused"),
        (refused(certain=False), "in doubt"),
        (expired(), "expired"),
    ],
)
def test_a1_a_skipped_do_goes_on_and_is_listed_with_what_was_found(answer: Answer, found: str):
    story = stuck_forward().given(skip("mail"))

    assert story.when(mail=answer).commands == [do("tell")]
    assert story.step("mail").did == "skipped"
    assert story.saga.overrides == (f"skip mail by ann: because (found: {found})",)


def test_a1_done_wins_over_the_override_of_a_do():
    story = stuck_forward().given(skip("mail"))

    assert story.when(mail=done({"id": 1})).commands == [do("tell")]
    assert story.step("mail").did == "done"
    assert story.step("mail").override is None
    assert story.saga.overrides == ()


@pytest.mark.parametrize(
    ("answer", "found"), [(never(), "never"), (never(in_doubt=True), "in doubt"), (expired(), "expired")]
)
def test_a1_a_skipped_undo_is_settled_and_listed_with_what_was_found(answer: Answer, found: str):
    story = stuck_undo().given(skip("a"))

    assert story.when(a=answer).status == "compensated"
    assert story.saga.overrides == (f"skip a by ann: because (found: {found})",)
    assert story.step("a").override is not None


@pytest.mark.parametrize("answer", [done(), nothing(), done().to(Op.UNDO), nothing().to(Op.UNDO)])
def test_a1_done_wins_over_the_override_of_an_undo(answer: Answer):
    story = stuck_undo().given(skip("a"))

    assert story.when(a=answer).status == "compensated"
    assert story.saga.overrides == ()


def test_a1_an_old_refusal_of_the_undo_does_not_stop_the_skip():
    story = stuck_undo().given(skip("a"))

    assert story.when(a=refused().to(Op.UNDO)).changes == 0


def test_a1_a_fence_that_fails_is_tried_again_and_then_stuck_again():
    story = stuck_undo().given(skip("a"))
    while story.when(a=failed("external call under way")).status == "compensating":
        story.given(timer("a"))

    assert (story.status, story.stuck) == ("stuck", ["a"])
    assert story.saga.overrides == ()
    assert story.when(retry()).commands == [fence("a", closes="undo")]
    assert story.when(a=never()).status == "compensated"


def test_a1_a_skip_may_be_repeated():
    story = stuck_forward().given(skip("mail"))
    while story.status == "running":
        story.when(timer("mail"))

    assert story.when(skip("mail")).commands == [fence("mail", closes="do")]


def test_a1_skipping_a_closing_fence_in_doubt_settles_it():
    story = tell(step("a", to="x", undo=None)).given(a=refused(certain=False))
    assert story.status == "stuck"

    assert story.when(skip("a")).commands == [fence("a", closes="do")]
    assert story.when(a=refused(certain=False)).status == "compensated"
    assert story.saga.overrides == ("skip a by ann: because (found: in doubt)",)


def test_a1_skipping_a_closing_fence_that_then_tells_overrides_nothing():
    story = tell(step("a", to="x", undo=None)).given(compensate()).given(a=expired())

    story.given(skip("a")).when(a=never())

    assert story.status == "compensated"
    assert story.saga.overrides == ()
    assert story.step("a").did == "never"


# A2


def test_a2_a_skipped_step_still_gets_its_undo():
    story = stuck_before().given(skip("b")).given(b=never())
    assert story.status == "completed"

    story = tell(
        step("a", to="x", undo="u"), step("b", to="y", undo="u"), step("c", to="z", undo="u")
    ).given(a=done()).given(b=expired()).given(skip("b")).given(b=never())  # fmt: skip
    assert story.step("b").did == "skipped"

    assert story.when(c=refused()).commands == [undo("b")]


def test_a2_a_skip_under_way_when_the_saga_turns_back_is_undone_like_any_other():
    story = stuck_before().given(skip("b"))

    story.when(compensate())

    assert story.commands == [undo("b")]
    assert story.step("b").override is None


def test_a_result_that_was_skipped_is_not_there():
    story = tell(
        pivot(step("p", to="x")), step("mail", to="mail"), step("tell", to="crm", args=result("mail"))
    ).given(p=done())  # fmt: skip

    story.given(mail=refused()).given(skip("mail")).when(mail=never())

    assert story.stuck == ["tell"]
    assert "an operator skipped that step" in story.step("tell").error


# A6


def test_a6_overrides_of_a_saga_add_up():
    story = tell(pivot(step("p", to="x")), step("m", to="mail"), step("n", to="mail")).given(p=done())

    story.given(m=refused()).given(skip("m")).given(m=never())
    story.given(n=refused()).given(skip("n")).given(n=never())

    assert story.status == "completed"
    assert len(story.saga.overrides) == 2
