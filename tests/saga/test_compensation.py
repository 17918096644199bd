"""Compensation: C1, C2."""

from __future__ import annotations

import pytest

from amends.coordinator import chain, group, pivot, result, retry, step
from amends.coordinator.saga.state import Op
from tests.saga.story import (
    Answer,
    Story,
    compensate,
    do,
    done,
    expired,
    failed,
    fence,
    never,
    nothing,
    refused,
    tell,
    timer,
    undo,
    unknown,
)

# C1


def test_c1_every_step_that_ran_is_undone():
    story = tell(step("a", to="x", undo="u"), step("b", to="y", undo="v"), step("c", to="z", undo="w"))
    story.given(a=done(), b=done())

    assert story.when(c=refused()).commands == [undo("b")]
    assert story.sent[0].command == "v"
    assert story.when(b=done()).commands == [undo("a")]
    assert story.when(a=done()).status == "compensated"
    assert story.ended


@pytest.mark.parametrize("answer", [failed(), None])
def test_c1_a_step_of_unknown_outcome_is_undone(answer: Answer | None):
    story = tell(step("a", to="x", undo="u", retry=retry(limit=0)))

    story.when(*[] if answer else [timer("a")], **{"a": answer} if answer else {})

    assert story.commands == [undo("a")]


def test_c1_a_certain_refusal_is_not_undone():
    story = tell(step("a", to="x", undo="u"))

    assert story.when(a=refused()).commands == []
    assert story.status == "compensated"


def test_c1_what_only_reads_is_not_undone():
    story = tell(step("a", to="x", reads=True), step("b", to="x", undo="u")).given(a=done())

    assert story.when(b=refused()).commands == []
    assert story.status == "compensated"


def test_c1_what_only_reads_and_is_under_way_is_not_waited_for():
    story = tell(group(step("a", to="x", reads=True), step("b", to="x", undo="u")))

    assert story.when(b=refused()).status == "compensated"
    assert story.phase("a") == "settled"


def test_c1_what_nothing_can_undo_and_is_done_is_left():
    story = tell(step("a", to="x", undo=None), step("b", to="x", undo="u")).given(a=done())

    assert story.when(b=refused()).status == "compensated"


def not_to_be_undone() -> Story:
    """A step that nothing can undo is of unknown outcome, and the saga turns back."""
    story = tell(group(step("a", to="x", undo=None), step("b", to="x", undo="u")))
    story.when(b=refused())
    assert story.commands == [fence("a", closes="do")]
    return story


@pytest.mark.parametrize("answer", [never(), refused(), done()])
def test_c1_what_nothing_can_undo_is_fenced_and_then_left(answer: Answer):
    assert not_to_be_undone().when(a=answer).status == "compensated"


@pytest.mark.parametrize("answer", [refused(certain=False), expired(), unknown()])
def test_c1_what_nothing_can_undo_and_stays_in_doubt_is_stuck(answer: Answer):
    story = not_to_be_undone().when(a=answer)

    assert (story.status, story.stuck) == ("stuck", ["a"])
    assert "nothing can undo it" in story.step("a").error


@pytest.mark.parametrize("answer", [done(), refused()])
def test_c1_a_late_answer_of_the_do_says_what_its_fence_would(answer: Answer):
    assert not_to_be_undone().when(a=answer.to(Op.DO)).status == "compensated"


def test_c1_a_late_refusal_in_doubt_leaves_it_to_the_fence():
    story = not_to_be_undone()

    assert story.when(a=refused(certain=False).to(Op.DO)).changes == 0
    assert story.when(a=never()).status == "compensated"


def test_c1_what_nothing_can_undo_and_was_refused_in_doubt_is_stuck_at_once():
    story = tell(step("a", to="x", undo=None))

    story.when(a=refused("timeout at the bank", certain=False))

    assert (story.status, story.stuck) == ("stuck", ["a"])
    assert "timeout at the bank" in story.step("a").error


def test_c1_a_fence_that_fails_is_tried_again():
    story = not_to_be_undone()

    story.when(a=failed(spent=False)).when(timer("a"))

    assert story.commands == [fence("a", closes="do")]


def test_c1_no_do_is_sent_while_compensating():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="x", undo="u")))
    story.given(a=failed())

    story.when(b=refused())

    assert story.commands == [undo("a")]


def test_c1_the_fence_of_an_unknown_step_asks_for_its_do_on_the_undo_queue():
    story = not_to_be_undone()

    assert story.step("a").op is Op.FENCE
    assert (
        tell(group(step("a", to="x", do="register", undo=None), step("b", to="x", undo="u")))
        .when(b=refused())
        .sent[0]
        .command
        == "register"
    )


# C2


def test_c2_steps_in_flight_are_undone_at_once():
    story = tell(group(step("a", to="x", undo="u"), step("b", to="y", undo="u")))

    assert story.when(compensate()).commands == [undo("a"), undo("b")]


def test_c2_chains_are_undone_in_reverse_and_branches_side_by_side():
    story = tell(
        step("first", to="x", undo="u"),
        group(
            chain(step("a1", to="x", undo="u"), step("a2", to="x", undo="u")),
            chain(step("b1", to="x", undo="u"), step("b2", to="x", undo="u"), step("b3", to="x", undo="u")),
        ),
        step("last", to="x", undo="u"),
    )
    story.given(first=done()).given(a1=done(), b1=done()).given(a2=done(), b2=done()).given(b3=done())

    assert story.when(last=refused()).commands == [undo("a2"), undo("b3")]
    assert story.when(b3=done()).commands == [undo("b2")]
    assert story.when(a2=done()).commands == [undo("a1")]
    assert story.when(a1=done()).commands == []
    assert story.when(b2=done()).commands == [undo("b1")]
    assert story.when(b1=nothing()).commands == [undo("first")]


def test_c2_a_branch_that_had_not_come_far_is_undone_as_far_as_it_came():
    story = tell(
        group(
            chain(step("a1", to="x", undo="u"), step("a2", to="x", undo="u"), step("a3", to="x", undo="u")),
            step("b", to="x", undo="u"),
        )
    ).given(a1=done())

    assert story.when(b=refused()).commands == [undo("a2")]
    assert story.when(a2=nothing()).commands == [undo("a1")]
    assert story.when(a1=done()).status == "compensated"


def test_c2_a_group_with_nothing_to_undo_is_passed_over_at_once():
    story = tell(
        step("a", to="x", undo="u"),
        group(step("r", to="x", reads=True), step("n", to="x", undo=None)),
        step("b", to="x", undo="u"),
    )
    story.given(a=done()).given(r=done(), n=done())

    assert story.when(b=refused()).commands == [undo("a")]


def test_c2_an_undo_is_tried_again_after_a_failure():
    story = tell(step("a", to="x", undo="u", undo_timeout="5s")).given(compensate())
    assert story.step("a").due == story.now + 5_000

    assert story.when(timer("a")).commands == []
    assert story.when(timer("a")).commands == [undo("a")]


def test_an_undo_carries_no_args_for_its_participant_keeps_them():
    story = tell(step("a", to="x", undo="u", args={"n": 1})).when(compensate())

    assert story.sent[0].args is None


@pytest.mark.parametrize(
    ("answer", "did"),
    [(done({"id": 1}), "done"), (refused(), "refused"), (refused(certain=False), "in_doubt")],
)
def test_a_late_answer_of_the_do_is_only_noted_while_its_undo_is_under_way(answer: Answer, did: str):
    story = tell(step("a", to="x", undo="u")).given(compensate())

    story.when(a=answer.to(Op.DO))

    assert story.step("a").did == did
    assert story.step("a").op is Op.UNDO
    assert story.commands == []
    assert story.status == "compensating"


def test_a_result_that_came_before_does_not_come_again_after_compensation():
    story = tell(step("a", to="x", undo="u"), step("b", to="x", undo="u", args=result("a")))
    story.given(a=done(1), b=refused()).given(a=done())
    assert story.status == "compensated"

    assert story.when(a=done(2).to(Op.DO)).changes == 0


def test_a_compensated_saga_with_a_pivot_ahead_never_sends_it():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x")))

    story.given(compensate()).when(a=done())

    assert story.status == "compensated"
    assert do("p") not in story.commands
    assert story.saga.pivot == "ahead"
