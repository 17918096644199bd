"""Calls: a parent and its children (K1, K2, K4, K5), and how they end together (A4)."""

from __future__ import annotations

import pytest

from amends.coordinator import call, each, group, item, pivot, result, step
from amends.coordinator.saga import events
from amends.coordinator.saga.effects import Call, ReportOutcome
from tests.saga.happenings import child_of, finish, force, reports
from tests.saga.story import Story, compensate, deadline, do, done, refused, retry, skip, tell, undo
from tests.saga.stuck_stories import refusal

DONE, REFUSED, NEVER, STUCK = (
    ReportOutcome.DONE,
    ReportOutcome.REFUSED,
    ReportOutcome.NEVER,
    ReportOutcome.STUCK,
)


def calling() -> Story:
    """A call, and a step that takes its result."""
    return tell(call("child", {"x": 1}), step("b", to="x", undo="u", args=result("child")))


def calls_of(story: Story) -> list[Call]:
    return story.told(Call)


def test_a_call_starts_a_child_that_is_held_before_the_pivot():
    story = calling()

    (wanted,) = calls_of(story)
    assert (wanted.saga, wanted.version, wanted.input) == ("child", None, {"x": 1})
    assert (wanted.parent.saga, wanted.parent.path, wanted.parent.round) == ("saga-1", "child", 1)
    assert wanted.parent.holds
    assert story.phase("child") == "waiting"


def test_the_childs_result_is_the_calls():
    story = calling().when(reports("child", DONE, {"y": 2}))

    assert [(send.path, send.args) for send in story.sent] == [("b", {"y": 2})]
    assert story.orders == []


def test_a_child_is_settled_when_its_parent_completes():
    """K2. Guard: `draft.effects.append(order)` in confirming.settle_child."""
    story = calling().given(reports("child", DONE))

    story.when(b=done())

    assert story.orders == [("child", "settle")]
    assert story.status == "completed"


def test_a_child_is_settled_when_its_parent_passes_its_pivot():
    story = tell(call("child"), pivot(step("p", to="x")), step("c", to="x")).given(reports("child", DONE))

    story.when(p=done())

    assert story.orders == [("child", "settle")]
    assert story.when(c=done()).orders == []


def test_a_child_that_refuses_turns_its_parent_back():
    story = tell(step("a", to="x", undo="u"), call("child")).given(a=done())

    story.when(reports("child", REFUSED))

    assert story.commands == [undo("a")]
    assert story.orders == []
    assert "did not happen: it says so" in story.saga.cause


def test_a_child_that_is_done_compensates_with_its_parent_in_reverse_order():
    story = tell(step("a", to="x", undo="u"), call("child"), step("b", to="x", undo="u"))
    story.given(a=done()).given(reports("child", DONE))

    assert story.when(b=refused()).orders == [("child", "compensate")]
    assert story.commands == []
    assert story.when(reports("child", REFUSED)).commands == [undo("a")]


def test_a_child_under_way_is_told_to_compensate_at_once():
    story = tell(group(call("child"), step("b", to="x", undo="u")))

    story.when(b=refused())

    assert story.orders == [("child", "compensate")]
    assert story.when(reports("child", DONE)).status == "compensating"
    assert story.when(reports("child", NEVER)).status == "compensated"


def test_when_the_deadline_passes_a_held_child_compensates():
    story = calling().given(reports("child", DONE))

    story.when(deadline())

    assert story.orders == []
    assert story.commands == [undo("b")]
    assert story.when(b=done()).orders == [("child", "compensate")]


@pytest.mark.parametrize(
    "event",
    [
        events.Reported(path="child", child="another", round=1, outcome=DONE),
        events.Reported(path="b", child="another", round=1, outcome=DONE),
        events.Reported(path="nobody", child="another", round=1, outcome=DONE),
    ],
)
def test_what_nobody_asked_for_changes_nothing(event: events.Reported):
    """K1. Guards: `event.child == child_of(...)` in children.concerns, and those of machine._reported."""
    story = calling()

    assert story.when(event).changes == 0


def test_a_report_of_another_round_changes_nothing():
    story = calling()

    assert story.when(reports("child", DONE, round=2)).changes == 0


def test_a_step_takes_no_reply_from_a_participant_that_it_has_not():
    story = calling()

    story.when({"child": done()})

    assert story.changes == 0


# Stuck children


def test_a_stuck_child_makes_its_parent_stuck_until_it_has_an_outcome():
    story = calling().when(reports("child", STUCK))
    assert (story.status, story.stuck) == ("stuck", ["child"])

    story.when(reports("child", DONE, {"y": 1}))

    assert (story.status, story.commands) == ("running", [do("b")])


def test_a_late_word_that_the_child_was_stuck_does_not_undo_its_outcome():
    """K4. Guard: `step.recorded is not None and news.outcome is STUCK` in recording.record."""
    story = tell(group(call("child"), call("other")))
    story.given(reports("other", STUCK))
    story.given(events.InternalError(reason="boom"))
    story.given(reports("child", DONE, {"y": 1}))

    story.given(reports("child", STUCK)).when(reports("other", DONE))

    assert story.status == "completed"


def test_retrying_a_call_whose_child_is_stuck_calls_the_same_child_in_a_new_round():
    story = calling()
    first = child_of(story, "child")

    story.given(reports("child", STUCK)).when(retry())

    (again,) = calls_of(story)
    assert (again.child, again.parent.round) == (first, 2)


def test_retrying_a_call_whose_child_has_ended_calls_another():
    """K1. Guard: `step.child += 1` in acts.py."""
    story = tell(pivot(step("p", to="x")), call("child")).given(p=done())
    first = child_of(story, "child")
    assert not calls_of(story)
    story.given(reports("child", REFUSED))
    assert story.status == "stuck"

    story.when(retry())

    (again,) = calls_of(story)
    assert again.child != first
    assert not again.parent.holds
    assert story.when(reports("child", DONE)).status == "completed"


def test_a_late_report_of_the_child_before_is_not_this_ones():
    """K1. Guard: `event.child == child_of(draft, step)` in children.concerns."""
    story = tell(pivot(step("p", to="x")), call("child")).given(p=done())
    first = child_of(story, "child")
    story.given(reports("child", REFUSED)).given(retry())

    assert story.when(reports("child", DONE, child=first)).changes == 0


def test_a_child_that_is_stuck_while_it_compensates_makes_its_parent_stuck():
    story = calling().given(reports("child", DONE)).given(b=refused())

    story.when(reports("child", STUCK))
    assert story.status == "stuck"

    assert story.when(retry()).orders == [("child", "compensate")]
    assert story.when(reports("child", REFUSED)).status == "compensated"


# A call as the pivot


def pivoting() -> Story:
    return tell(step("a", to="x", undo="u"), pivot(call("child")), step("c", to="x")).given(a=done())


def test_a_pivot_that_is_a_call_is_not_held_and_passed_with_its_report():
    story = pivoting()
    assert story.saga.pivot == "sent"

    story.when(reports("child", DONE))

    assert (story.saga.pivot, story.commands) == ("passed", [do("c")])


@pytest.mark.parametrize("outcome", [NEVER, REFUSED])
def test_at_the_deadline_a_pivot_that_is_a_call_is_asked_first(outcome: ReportOutcome):
    """P1, K5."""
    story = pivoting().when(deadline())
    assert (story.orders, story.status) == ([("child", "fence")], "running")

    story.when(reports("child", outcome))

    assert story.commands == [undo("a")]


def test_a_fenced_child_that_is_done_means_that_the_pivot_is_passed():
    story = pivoting().given(compensate())

    assert story.when(reports("child", DONE)).commands == [do("c")]


def test_a_refusal_cannot_be_forced_on_a_pivot_that_is_a_call():
    """P1. Guard: `step.place.zone is Zone.PIVOT and isinstance(step.place.node, CallNode)` in acts.force."""
    story = pivoting().given(reports("child", STUCK))

    assert "only that knows; compensate" in refusal(story, force("child", refuse=True))


# Operators


def test_skipping_a_call_tells_its_child_to_compensate_and_goes_on():
    """A4."""
    story = calling().given(reports("child", STUCK))

    story.when(skip("child"))

    assert story.orders == [("child", "compensate")]
    assert "skip child by ann: because" in story.saga.overrides
    assert story.status == "compensated"  # The next step takes the child's result, which is not there.


def test_forcing_a_result_of_a_call_goes_on_with_it():
    story = calling().given(reports("child", STUCK))

    story.when(force("child", {"y": 7}))

    assert story.orders == [("child", "compensate")]
    assert [(send.path, send.args) for send in story.sent] == [("b", {"y": 7})]
    assert story.when(b=refused()).status == "compensated"


def test_forcing_a_refusal_of_a_call_turns_the_parent_back():
    story = tell(step("a", to="x", undo="u"), call("child")).given(a=done()).given(reports("child", STUCK))

    story.when(force("child", refuse=True))

    assert story.orders == [("child", "compensate")]
    assert story.commands == [undo("a")]


def test_finishing_a_parent_settles_its_children():
    """A4. Guard: `tell_children(draft, Order.SETTLE)` in ending.decide."""
    story = tell(call("one"), group(call("two"), call("three"))).given(reports("one", DONE))
    story.given(reports("two", STUCK)).given(events.InternalError(reason="boom"))

    story.when(finish())

    assert story.orders == [("one", "settle"), ("two", "settle"), ("three", "settle")]
    assert story.status == "completed"


def test_finishing_a_parent_that_compensates_gives_its_children_back():
    story = tell(each([1, 2], call("one", item)), call("two")).given(reports("one/0", DONE))
    story.given(reports("one/1", DONE)).given(reports("two", DONE))
    assert story.status == "completed"
    story = tell(each([1, 2], call("one", item), at_most=1), call("two"))
    story.given(reports("one/0", DONE)).given(reports("one/1", DONE)).given(compensate())
    story.given(reports("two", STUCK))
    assert story.status == "stuck"

    story.when(finish())

    assert story.orders == [("one/0", "compensate"), ("one/1", "compensate")]
    assert story.status == "compensated"


def test_a_call_that_is_too_large_was_never_made():
    """O5. Guard: `Phase.WAITING` in machine._unsendable."""
    story = tell(step("a", to="x", undo="u"), call("child")).given(a=done())

    story.when(events.Unsendable(path="child", attempt=1, reason="too large"))

    assert (story.orders, story.commands) == ([], [undo("a")])


def test_a_calls_args_may_be_missing():
    story = tell(step("a", to="x", undo="u"), call("child", result("a").y)).given()

    story.when(a=done({}))

    assert story.commands == [undo("a")]
    assert calls_of(story) == []
