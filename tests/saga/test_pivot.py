"""The point of no return: P1, P2."""

from __future__ import annotations

import pytest

from amends.coordinator import pivot, step
from amends.coordinator import retry as retries
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
    never,
    refused,
    retry,
    skip,
    tell,
    timer,
    undo,
    unknown,
)  # fmt: skip


def sent(**dispatch: object) -> Story:
    """Stock is reserved; the pivot is under way."""
    return tell(
        step("reserve", to="inventory", undo="release"),
        pivot(step("dispatch", to="shipping", **dispatch)),
        step("mail", to="mail"),
        deadline="15m",
    ).given(reserve=done())  # fmt: skip


def fenced() -> Story:
    """The deadline came before the pivot's answer: its fence is under way."""
    return sent().given(deadline())


def tried_on() -> Story:
    """The fence could not tell: the pivot's `do` is tried on."""
    return fenced().given(dispatch=unknown())


# P1: what asks for the outcome


def test_p1_sent_means_logged():
    assert sent().saga.pivot == "sent"
    assert sent().step("dispatch").did == "unknown"


def test_p1_parked_is_not_sent():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="y")), held=["y.do"]).given(a=done())
    assert story.saga.pivot == "ahead"

    assert story.when(deadline()).commands == [undo("a")]


def test_p1_the_deadline_sends_a_fence():
    story = sent()

    story.when(deadline())

    assert story.commands == [fence("dispatch")]
    assert story.status == "running"
    assert story.saga.wants_back == "the deadline has passed"


def test_p1_exhausted_retries_send_a_fence():
    story = sent(retry=retries(limit=1)).given(dispatch=failed()).given(timer("dispatch"))

    assert story.when(dispatch=failed("down")).commands == [fence("dispatch")]
    assert "down" in story.saga.wants_back


def test_p1_compensate_now_sends_a_fence():
    story = sent()

    story.when(compensate())

    assert story.commands == [fence("dispatch")]
    assert story.saga.wants_back == "compensated by ann: because"


def test_p1_a_pivot_tries_until_the_deadline_not_a_day():
    story = tell(pivot(step("p", to="x")), deadline="7d")
    while story.now - s.NOON < 48 * HOUR:
        story.when(p=failed(retry_after=HOUR)).when(timer("p"))

    assert story.saga.wants_back == ""


def test_p1_the_deadline_fences_a_parked_retry_of_what_was_sent():
    story = sent().holding("shipping.do").given(timer("dispatch"), timer("dispatch"))
    assert story.phase("dispatch") == "parked"

    assert story.when(deadline()).commands == [fence("dispatch")]


def test_p1_a_second_deadline_changes_nothing():
    assert fenced().when(deadline()).changes == 0


# P1: what the fence found


def test_p1_never_compensates():
    story = fenced()

    assert story.when(dispatch=never()).commands == [undo("reserve")]
    assert story.saga.cause == "the deadline has passed"
    assert story.when(reserve=done()).status == "compensated"


def test_p1_a_certain_refusal_compensates():
    assert fenced().when(dispatch=refused("no carrier")).commands == [undo("reserve")]


def test_p1_done_means_it_is_passed():
    story = fenced()

    assert story.when(dispatch=done({"track": 1})).commands == [do("mail")]
    assert story.saga.pivot == "passed"
    assert story.saga.wants_back == ""
    assert story.step("dispatch").result == {"track": 1}


def test_p1_unknown_goes_on_trying():
    story = fenced()

    story.when(dispatch=unknown())
    assert story.commands == []
    story.when(timer("dispatch"))

    assert story.commands == [do("dispatch")]
    assert story.status == "running"


@pytest.mark.parametrize("answer", [refused(certain=False), expired()])
def test_p1_a_fence_that_leaves_it_in_doubt_is_stuck(answer: Answer):
    story = fenced().when(dispatch=answer)

    assert (story.status, story.stuck) == ("stuck", ["dispatch"])


def test_p1_a_fence_that_is_never_answered_is_stuck():
    story = fenced()
    began = story.now
    while story.status == "running":
        story.when(timer("dispatch"))

    assert story.now - began == pytest.approx(24 * HOUR, rel=0.01)
    assert story.status == "stuck"


# P1: the answer of the `do` itself


def test_p1_a_refusal_of_the_do_compensates():
    assert sent().when(dispatch=refused()).commands == [undo("reserve")]


@pytest.mark.parametrize("answer", [refused("carrier hung up", certain=False), expired()])
def test_p1_a_do_in_doubt_is_stuck(answer: Answer):
    story = sent().when(dispatch=answer)

    assert (story.status, story.stuck) == ("stuck", ["dispatch"])


def test_p1_a_late_done_is_accepted_while_fencing():
    assert fenced().when(dispatch=done().to(Op.DO)).commands == [do("mail")]


def test_p1_a_late_certain_refusal_is_accepted_while_fencing():
    assert fenced().when(dispatch=refused().to(Op.DO)).commands == [undo("reserve")]


@pytest.mark.parametrize("answer", [refused(certain=False), failed(), expired()])
def test_p1_what_does_not_decide_leaves_it_to_the_fence(answer: Answer):
    assert fenced().when(dispatch=answer.to(Op.DO)).changes == 0


# P1: after a fence that could not tell


def test_p1_tried_on_it_may_still_succeed():
    assert tried_on().given(timer("dispatch")).when(dispatch=done()).commands == [do("mail")]


def test_p1_tried_on_it_may_be_refused():
    assert tried_on().given(timer("dispatch")).when(dispatch=refused()).commands == [undo("reserve")]


def test_p1_tried_on_for_a_day_it_is_stuck():
    story = tried_on()
    began = story.now
    while story.status == "running":
        story.when(timer("dispatch"))

    assert story.now - began == pytest.approx(24 * HOUR, rel=0.01)
    assert story.stuck == ["dispatch"]
    assert fence("dispatch") not in story.commands


def test_p1_tried_on_a_late_copy_of_the_fence_s_answer_changes_nothing():
    story = fenced()
    answer = story.reply("dispatch", never())
    story.given(dispatch=unknown())

    assert story.when(answer).changes == 0


def test_p1_tried_on_the_deadline_does_not_fence_again():
    assert tried_on().when(deadline()).changes == 0


def test_p1_tried_on_compensate_asks_again():
    assert tried_on().when(compensate()).commands == [fence("dispatch")]


# P2


def passed() -> Story:
    return sent().given(dispatch=done())


def test_p2_after_the_pivot_the_deadline_means_nothing():
    story = passed()

    assert story.when(deadline()).changes == 0
    assert story.when(mail=done()).status == "completed"


def test_p2_after_the_pivot_a_refusal_is_stuck_and_nothing_is_undone():
    story = passed().when(mail=refused("no such address"))

    assert (story.status, story.stuck) == ("stuck", ["mail"])
    assert story.commands == []
    assert "no such address" in story.step("mail").error


def test_p2_after_the_pivot_a_refusal_in_doubt_is_stuck():
    assert passed().when(mail=refused(certain=False)).status == "stuck"


def test_p2_a_late_done_settles_a_step_that_is_stuck_after_the_pivot():
    story = passed().given(mail=refused())

    assert story.when(mail=done()).status == "completed"


# P1 and operators


def test_p1_retrying_a_pivot_in_doubt_runs_it_in_a_new_round():
    story = sent().given(dispatch=refused(certain=False))

    story.when(retry())

    assert story.commands == [do("dispatch")]
    assert story.sent[0].round == 2
    assert story.step("dispatch").did == "unknown"


def test_p1_a_new_deadline_lets_a_pivot_tried_on_be_tried_until_then():
    story = tried_on()
    while story.status == "running":
        story.when(timer("dispatch"))

    story.when(retry(deadline=2 * HOUR))

    assert story.commands == [do("dispatch")]
    assert story.saga.wants_back == ""
    assert story.when(deadline()).commands == [fence("dispatch")]


def test_p1_retrying_a_stuck_fence_asks_again():
    story = fenced().given(dispatch=expired())

    assert story.when(retry()).commands == [fence("dispatch")]
    assert story.when(dispatch=never()).commands == [undo("reserve")]


def test_a_skipped_pivot_is_passed():
    story = sent().given(dispatch=refused(certain=False))

    assert story.when(skip("dispatch")).commands == [fence("dispatch", closes="do")]
    assert story.when(dispatch=refused(certain=False)).commands == [do("mail")]
    assert story.saga.pivot == "passed"
    assert "in doubt" in story.saga.overrides[0]
