"""Try, confirm, cancel: the decision comes first, then every confirm, and never an undo (P2)."""

from __future__ import annotations

from amends.coordinator import arg, choose, each, group, item, pivot, step
from amends.coordinator.saga.nodes import Sketch
from amends.coordinator.saga.state import Op
from tests.saga.happenings import finish
from tests.saga.story import (
    Story,
    confirm,
    deadline,
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
    unknown,
)


def try_(name: str) -> Sketch:
    return step(name, to="x", undo="cancel", confirm="last")


def tried() -> Story:
    """Two tries are done: the saga has decided."""
    return (
        tell(try_("a"), group(try_("b"), step("c", to="x", undo="u")))
        .given(a=done())
        .given(b=done(), c=done())
    )


def test_without_a_pivot_confirms_are_asked_for_once_every_step_has_succeeded():
    """P2. Guard: `draft.pivot is Pivot.NONE` in ending.decide."""
    story = tell(try_("a"), step("b", to="x", undo="u")).given(a=done())
    assert story.commands == []

    story.when(b=done())

    assert story.commands == [confirm("a")]
    assert story.sent[0].command == "last"
    assert (story.status, story.saga.pivot) == ("running", "passed")
    assert story.when(a=done()).status == "completed"


def test_with_a_pivot_confirms_are_asked_for_once_it_is_passed():
    """P2. Guard: `begin_confirming(draft)` in forward.succeed."""
    story = tell(try_("a"), pivot(step("p", to="x")), step("b", to="x")).given(a=done())

    assert set(story.when(p=done()).commands) == {confirm("a"), do("b")}
    assert story.when(b=done()).status == "running"
    assert story.when(a=done()).status == "completed"


def test_a_saga_completes_only_when_all_is_confirmed():
    """Guard: `draft.positions.get(CONFIRMING)` in ending.end_if_done."""
    story = tell(try_("a"), group(try_("b"), try_("c"))).given(a=done()).given(b=done(), c=done())

    assert story.when(a=done(), c=done()).status == "running"
    assert story.when(b=done()).status == "completed"


def test_a_try_that_is_cancelled_gets_no_confirm():
    story = tell(try_("a"), step("b", to="x", undo="u")).given(a=done())

    assert story.when(b=refused()).commands == [undo("a")]
    assert story.when(a=done()).status == "compensated"


def test_after_the_decision_nothing_turns_back():
    story = tried()

    assert story.when(deadline()).changes == 0


def test_items_are_confirmed_so_many_at_a_time():
    story = tell(each([1, 2, 3], try_("a"), at_most=2))
    story.given({"a/0": done()}).given({"a/1": done()})

    assert story.when({"a/2": done()}).commands == [confirm("a/0"), confirm("a/1")]
    assert story.when({"a/1": done()}).commands == [confirm("a/2")]
    assert story.when({"a/0": done(), "a/2": done()}).status == "completed"


def test_only_the_branch_that_ran_is_confirmed():
    story = tell(
        each([1, 2], choose((item > 1, try_("big")), otherwise=try_("small"))),
        choose((arg > 1, try_("one")), otherwise=try_("other")),
        input=1,
    ).given({"big/1": done(), "small/0": done()})

    story.when(other=done())

    assert story.commands == [confirm("small/0"), confirm("big/1"), confirm("other")]


def test_a_failed_confirm_is_tried_again():
    story = tried().when(a=failed())

    assert story.when(timer("a")).commands == [confirm("a")]


def test_a_refused_confirm_needs_an_operator():
    """P2."""
    story = tried().given(b=done()).given(a=refused("gone"))
    assert story.status == "stuck"
    assert "its confirm was refused: gone" in story.step("a").error

    assert story.when(retry()).commands == [confirm("a")]
    assert story.sent[0].round == 2
    assert story.when(a=done()).status == "completed"


def test_what_a_participant_cannot_tell_needs_an_operator():
    story = tried().given(a=expired(), b=never())

    assert story.status == "stuck"
    assert story.when(a=unknown(), b=nothing()).changes == 0


def test_skipping_a_confirm_closes_it_first():
    """A1."""
    story = tried().given(b=done()).given(a=refused())

    assert story.when(skip("a")).commands == [fence("a", "confirm")]
    assert story.when(a=never()).status == "completed"
    assert story.saga.overrides == ("skip a by ann: because (found: never)",)


def test_a_confirm_that_was_done_wins_over_the_skip():
    story = tried().given(b=done()).given(a=refused()).given(skip("a"))

    assert story.when(a=done()).status == "completed"
    assert story.saga.overrides == ()


def test_what_the_fence_of_a_confirm_cannot_tell_is_listed():
    for answer, found in ((expired(), "expired"), (refused(), "in doubt"), (unknown(), "in doubt")):
        story = tried().given(b=done()).given(a=refused()).given(skip("a"))

        assert story.when(a=answer).status == "completed"
        assert story.saga.overrides == (f"skip a by ann: because (found: {found})",)


def test_a_late_confirm_answers_the_fence():
    story = tried().given(b=done()).given(a=refused()).given(skip("a"))

    assert story.when(a=done().to(Op.CONFIRM)).status == "completed"


def test_a_skipped_try_gets_no_confirm():
    """A2. Guard: `step.did is not Did.DONE` in confirming._confirm."""
    story = tell(try_("a"), step("b", to="x", undo="u")).given(a=expired()).given(skip("a")).given(a=never())

    assert story.when(b=done()).status == "completed"
    assert story.commands == []


def test_a_saga_that_is_finished_confirms_nothing_more():
    story = tried().given(b=done()).given(a=refused()).given(finish())
    assert story.status == "running"

    assert story.when(a=never()).status == "completed"
