"""A child and its parent's decision: held, settled, compensated, asked (K1 to K5, A5)."""

from __future__ import annotations

import pytest

from amends.coordinator import call, pivot, result, step
from amends.coordinator.saga import events
from amends.coordinator.saga.effects import Order, Report, ReportOutcome
from amends.coordinator.saga.machine import advance
from amends.coordinator.saga.nodes import Sketch
from amends.coordinator.saga.state import Decision
from tests.saga.happenings import FREE, HELD, called, finish, force, reports, told
from tests.saga.story import (
    Story,
    compensate,
    confirm,
    deadline,
    done,
    expired,
    fence,
    internal_error,
    never,
    refused,
    skip,
    tell,
    undo,
    unknown,
)
from tests.saga.stuck_stories import refusal

SETTLE, COMPENSATE, FENCE = Order.SETTLE, Order.COMPENSATE, Order.FENCE


def child(*nodes: Sketch, **more: object) -> Story:
    return tell(*(nodes or (step("a", to="x", undo="u"),)), **{"parent": HELD, **more})  # type: ignore[arg-type]


def held(*nodes: Sketch) -> Story:
    return child(*nodes, result=result("a")).when(a=done({"y": 1}))


def test_a_child_that_is_done_reports_and_is_held():
    """K2. Guard: `if is_held(draft)` in ending.arrive."""
    story = held()

    (report,) = story.told(Report)
    assert (report.outcome, report.result, report.parent) == ("done", {"y": 1}, HELD)
    assert story.status == "running"


def test_a_held_child_ignores_its_deadline():
    """K2. Guard: `draft.through` in timers.deadline_reached."""
    assert held().when(deadline()).changes == 0


def test_a_held_child_completes_when_its_parent_settles():
    story = held().when(told(SETTLE))

    assert (story.status, story.reports) == ("completed", [])


def test_a_held_child_confirms_only_when_its_parent_settles():
    """P2, K2. Guard: `if is_held(draft)` in ending.arrive."""
    story = held(step("a", to="x", undo="u", confirm="c"))
    assert story.commands == []

    assert story.when(told(SETTLE)).commands == [confirm("a")]
    assert story.when(a=done()).status == "completed"


def test_a_held_child_compensates_when_its_parent_does():
    story = held().when(told(COMPENSATE))
    assert story.commands == [undo("a")]

    assert story.when(a=done()).reports == ["refused"]
    assert story.status == "compensated"


@pytest.mark.parametrize(("first", "second"), [(SETTLE, COMPENSATE), (COMPENSATE, SETTLE)])
def test_a_child_obeys_the_first_decision(first: Order, second: Order):
    """K3. Guards: `if draft.decision is Decision.NONE` in obeying.told."""
    story = child(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done()).given(told(first))
    before = story.saga.decision

    story.when(told(second))

    assert story.saga.decision is before
    assert story.saga.backwards is (first is COMPENSATE)


def test_a_child_that_compensates_is_not_settled():
    """K3."""
    test_a_child_obeys_the_first_decision(COMPENSATE, SETTLE)


def test_a_decision_that_came_before_the_start_decides_it():
    """K3. Guard: `if draft.decision is Decision.COMPENSATE` in machine._started."""
    story = child(decision=Decision.COMPENSATE)

    assert (story.status, story.reports, story.commands) == ("compensated", ["refused"], [])


def test_a_settled_child_completes_without_being_held():
    story = child(decision=Decision.SETTLE).when(a=done())

    assert story.status == "completed"


def test_a_child_that_ended_tells_what_it_has_become_to_every_copy():
    story = held().given(told(SETTLE))

    _, effects = advance(story.definition, story.saga, events.Told(order=SETTLE, round=3), story.now)

    (report,) = effects
    assert isinstance(report, Report)
    assert (report.outcome, report.result, report.parent.round) == ("done", {"y": 1}, 3)


def test_a_called_child_reports_in_the_new_round():
    """K1."""
    story = held()

    story.when(called(round=2))

    (report,) = story.told(Report)
    assert (report.parent.round, report.outcome) == (2, "done")
    assert story.when(called(round=1)).changes == 0


def test_a_child_called_before_a_pivot_must_have_none():
    """K2: it could not be compensated. Guard: `draft.parent.holds` in machine._started."""
    story = child(step("a", to="x", undo="u"), pivot(step("p", to="x")))

    assert (story.status, story.reports, story.commands) == ("compensated", ["refused"], [])
    assert "must not be called before one" in story.saga.cause


def test_a_child_called_from_the_pivot_on_completes_by_itself():
    story = child(parent=FREE).when(a=done())

    assert (story.status, story.reports) == ("completed", ["done"])


# Asked by a fence (K5)


def test_a_fenced_child_compensates_before_its_pivot():
    story = child(step("a", to="x", undo="u"), pivot(step("p", to="x")), parent=FREE).given(a=done())
    story = child(step("a", to="x", undo="u"), step("b", to="x", undo="u"), parent=FREE).given(a=done())

    assert story.when(told(FENCE)).commands == [undo("b")]


def test_a_fenced_child_asks_for_its_own_pivot_first():
    """P1. Guard: `fence_pivot(draft, cause)` in obeying._back."""
    story = child(step("a", to="x", undo="u"), pivot(step("p", to="x")), parent=FREE).given(a=done())

    assert story.when(told(FENCE)).commands == [fence("p")]
    assert story.when(told(FENCE)).changes == 0
    assert story.when(p=never()).commands == [undo("a")]


def test_a_fenced_child_past_its_pivot_reports_once_it_has_completed():
    story = child(pivot(step("p", to="x")), step("c", to="x"), parent=FREE).given(p=done())

    assert story.when(told(FENCE)).reports == []
    assert story.when(c=done()).reports == ["done"]


# Stuck


def test_a_stuck_child_tells_its_parent():
    story = child().when(a=expired())

    assert (story.status, story.reports) == ("stuck", ["stuck"])


def test_a_stuck_child_compensates_what_it_can_at_once():
    """K3. Guard: `leave(draft)` in obeying._turn_back."""
    story = child(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done()).given(b=expired())

    story.when(told(COMPENSATE))

    assert (story.status, story.commands) == ("compensating", [undo("b")])


def test_a_stuck_child_that_compensates_already_says_again_that_it_is_stuck():
    story = child().given(told(COMPENSATE)).given(a=refused())
    assert story.status == "stuck"

    assert story.when(told(COMPENSATE, round=2)).reports == ["stuck"]


def test_every_copy_of_an_order_or_a_call_is_answered_as_the_child_stands():
    """K3: also in the same round, where nothing changes. Guard: the reports that machine.advance keeps."""
    stuck = child().given(told(COMPENSATE)).given(a=refused())

    for story, copy, answer in (
        (stuck, told(COMPENSATE), "stuck"),
        (stuck, told(SETTLE), "stuck"),
        (stuck, called(), "stuck"),
        (held(), called(), "done"),
    ):
        assert (story.when(copy).changes, story.reports) == (0, [answer])


def test_a_child_that_has_nothing_to_report_yet_answers_no_copy():
    story = child().given(told(COMPENSATE))

    assert (story.when(told(COMPENSATE), called()).changes, story.reports) == (0, [])


def test_a_child_whose_pivot_could_not_tell_is_stuck_again():
    story = child(pivot(step("p", to="x")), parent=FREE).given(told(FENCE)).given(p=unknown())
    story.given(internal_error())

    story.when(told(FENCE, round=2))

    assert story.status == "running"


# Operators


def test_a_child_is_not_compensated_by_an_operator():
    """A5."""
    assert "compensate the parent" in refusal(child(), compensate())


def test_a_child_that_is_finished_is_held_and_its_own_children_with_it():
    """A5, K2. Guard: `if is_held(draft)` in ending.arrive."""
    story = child(call("kid"), step("a", to="x", undo="u")).given(reports("kid", ReportOutcome.DONE))
    story.given(a=expired()).given(finish())

    story.when(a=never())
    assert (story.status, story.reports, story.orders) == ("running", ["done"], [])

    story.when(told(SETTLE))
    assert (story.status, story.orders) == ("completed", [("kid", "settle")])


def test_a_finished_child_gives_everything_back_when_its_parent_compensates():
    """A5. Guard: `draft.finishing = False` in backward.turn_back, without which it ends after the first undo."""
    story = child(step("a", to="x", undo="u"), step("b", to="x", undo="u")).given(a=done()).given(b=expired())
    story.given(finish()).given(b=never())

    assert story.when(told(COMPENSATE)).commands == [undo("b")]
    assert story.when(b=done()).commands == [undo("a")]
    assert story.when(a=done()).status == "compensated"


def test_a_forced_result_makes_a_child_held():
    story = child().given(a=expired()).given(force("a", {"y": 1}))

    assert story.when(a=never()).reports == ["done"]
    assert story.status == "running"


def test_a_skip_in_a_held_saga_is_undone_when_its_parent_compensates():
    """A2."""
    story = child().given(a=expired()).given(skip("a")).given(a=never())

    assert story.when(told(COMPENSATE)).commands == [undo("a")]


def test_a_saga_without_a_parent_obeys_nobody():
    story = tell(step("a", to="x", undo="u"))

    assert story.when(told(COMPENSATE), called()).changes == 0


def unsendable() -> events.Unsendable:
    return events.Unsendable(path="", attempt=0, reason="its result is too large")


def test_a_held_child_whose_result_cannot_be_told_compensates():
    """O5, K2. Guard: `event.path == ""` in machine._unsendable."""
    story = held().when(unsendable())
    assert story.commands == [undo("a")]

    (report,) = story.when(a=done()).told(Report)
    assert (report.outcome, report.reason, story.status) == (
        "refused",
        "its result is too large",
        "compensated",
    )


@pytest.mark.parametrize(
    "story",
    [
        lambda: child(parent=FREE, result=result("a")).when(a=done()),
        lambda: held().when(told(COMPENSATE)),
        lambda: held(step("a", to="x", undo="u", confirm="c")).when(told(SETTLE)),
        lambda: child(),
    ],
    ids=["free", "compensating", "confirming", "under way"],
)
def test_a_child_that_is_not_held_goes_on_as_it_was(story):
    """Nobody waits for what it came to. Guard: the conditions in machine._unsendable."""
    assert story().when(unsendable()).changes == 0


def test_a_held_child_that_an_operator_finished_stays_as_it_is():
    """A5. Guard: `draft.finishing` in machine._unsendable."""
    story = child(step("a", to="x", undo="u")).when(internal_error()).when(finish()).when(a=never())
    assert story.status == "running"

    assert story.when(unsendable()).changes == 0
