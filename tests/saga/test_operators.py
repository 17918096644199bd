"""Operators: A1, A2, A3, A6."""

from __future__ import annotations

import pytest

from amends.coordinator import arg, group, pivot, result, step
from amends.coordinator.saga.errors import ActRefused
from amends.coordinator.saga.state import Op
from tests.saga import story as s
from tests.saga.story import (
    HOUR,
    Answer,
    Story,
    compensate,
    deadline,
    do,
    done,
    expired,
    failed,
    fence,
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


def running() -> Story:
    return tell(step("a", to="x", undo="u"), step("b", to="y", undo="u")).given(a=done())


def stuck_undo() -> Story:
    """`b` was refused, and the undo of `a` as well."""
    return running().given(b=refused()).given(a=refused("account closed"))


def stuck_forward() -> Story:
    """A step after the pivot was refused."""
    story = tell(pivot(step("p", to="x")), step("mail", to="mail"), step("tell", to="crm")).given(p=done())
    return story.given(mail=refused("no mailbox"))


def stuck_before() -> Story:
    """A step before the pivot was asked too late for its participant to know."""
    return running().given(b=expired())


def refusal(story: Story, act: s.Happening) -> str:
    before = story.saga
    with pytest.raises(ActRefused) as caught:
        story.when(act)
    assert story.saga is before
    return str(caught.value)


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


# A6


def test_a6_overrides_of_a_saga_add_up():
    story = tell(pivot(step("p", to="x")), step("m", to="mail"), step("n", to="mail")).given(p=done())

    story.given(m=refused()).given(skip("m")).given(m=never())
    story.given(n=refused()).given(skip("n")).given(n=never())

    assert story.status == "completed"
    assert len(story.saga.overrides) == 2


@pytest.mark.parametrize("act", [retry(), skip("a"), compensate()])
def test_an_ended_saga_refuses_every_act(act: s.Happening):
    story = running().given(b=done())

    assert "it is completed" in refusal(story, act)


def test_what_an_operator_did_replays_like_everything_else():
    story = stuck_undo().given(retry()).given(a=refused()).given(skip("a")).given(a=never(in_doubt=True))

    assert story.replayed() == story.saga
