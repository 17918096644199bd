"""Operators move what is due (decision 62): nothing may wait for ever, and what they put off no policy counts."""

from __future__ import annotations

import pytest

from amends.coordinator import group, pivot, sleep, step, wait
from amends.coordinator import retry as policy
from amends.coordinator.saga import events
from amends.coordinator.saga.moving import LONGEST
from tests.saga.story import (
    HOUR,
    MINUTE,
    SECOND,
    Happening,
    Story,
    do,
    done,
    failed,
    never,
    refused,
    retry,
    tell,
    timer,
    undo,
)
from tests.saga.stuck_stories import refusal, stuck_before, stuck_forward, stuck_undo


def moved(path: str | None, after: int) -> Happening:
    """Ann lets it be due so many ms from now."""
    return lambda story: events.MoveTimer(
        actor="ann", reason="because", path=path, due=story.now + after, held=story.held
    )


def cancelled(path: str | None = None) -> Happening:
    return lambda story: events.CancelTimer(actor="ann", reason="because", path=path, held=story.held)


def backing_off() -> Story:
    return tell(step("a", to="x", undo="b")).given(a=failed(retry_after=10 * MINUTE))


def test_a_retry_that_is_moved_comes_then():
    story = backing_off().when(moved("a", 0))
    assert (story.phase("a"), story.step("a").due) == ("backoff", story.now)

    assert story.when(timer("a")).commands == [do("a")]
    assert story.step("a").attempt == 2


def test_a_timeout_that_is_moved_comes_then():
    story = tell(step("a", to="x", undo="b", timeout="1h")).given(moved("a", SECOND))

    story.when(timer("a"))

    assert story.phase("a") == "backoff"
    assert story.now < story.saga.started + MINUTE
    assert story.closed == [("a", "timeout")]


def test_a_reply_is_as_good_as_ever_after_its_timeout_was_moved():
    story = tell(step("a", to="x", undo="b")).given(moved("a", HOUR))

    assert story.when(a=done()).status == "completed"


def test_what_is_past_is_due_now():
    story = backing_off().when(moved("a", -HOUR))

    assert story.step("a").due == story.now


def test_what_an_operator_puts_off_no_policy_counts():
    """Guard: `step.since` in moving._move. Without it the undo is given up after its hour."""
    story = tell(step("a", to="x", undo="b", undo_retry=policy(within="1h")), step("c", to="x", undo="d"))
    story.given(a=done(), c=refused()).given(a=failed()).given(moved("a", 3 * HOUR)).given(timer("a"))

    story.when(a=failed())

    assert story.phase("a") == "backoff"
    assert story.when(timer("a")).commands == [undo("a")]


def test_what_is_brought_forward_leaves_the_policy_alone():
    story = backing_off()
    since = story.step("a").since

    assert story.when(moved("a", SECOND)).step("a").since == since


def test_a_sleep_and_a_wait_can_be_moved():
    slept = tell(sleep("2h"), step("a", to="x", undo="b")).given(moved("sleep", 0))
    assert slept.when(timer("sleep")).commands == [do("a")]

    waited = tell(wait("approved", timeout="2h", on_timeout="continue"), step("a", to="x", undo="b"))
    waited.given(moved("approved", MINUTE))
    assert waited.when(timer("approved")).commands == [do("a")]


def test_a_deadline_is_moved_and_put_off():
    story = tell(step("a", to="x", undo="b"), deadline="1h")

    story.when(moved(None, 2 * HOUR))
    assert story.saga.deadline == story.now + 2 * HOUR
    story.when(cancelled())
    assert story.saga.deadline == story.now + LONGEST


def test_a_deadline_of_a_stuck_saga_can_be_moved():
    """It may have passed meanwhile, and a retry would turn it back at once."""
    story = stuck_before().after(25 * HOUR)
    assert "its deadline has passed" in refusal(story, retry())

    story.given(moved(None, HOUR))

    assert story.status == "stuck"
    assert story.when(retry()).commands == [do("b")]


def test_a_deadline_that_applies_no_more_is_not_moved():
    assert "no deadline applies" in refusal(stuck_undo(), moved(None, HOUR))
    assert "no deadline applies" in refusal(stuck_forward(), cancelled())


@pytest.mark.parametrize("after", [-1, 0])
def test_a_deadline_in_the_past_is_refused(after: int):
    """That would be to compensate, which says its reason."""
    assert "has passed already" in refusal(tell(step("a", to="x", undo="b")), moved(None, after))


def test_nothing_is_moved_beyond_a_year():
    story = backing_off()

    assert "366 days" in refusal(story, moved("a", LONGEST + SECOND))
    assert "366 days" in refusal(story, moved(None, LONGEST + SECOND))


def test_a_wait_is_put_off_as_far_as_it_goes():
    story = tell(wait("approved", timeout="2h"), step("a", to="x", undo="b")).when(cancelled("approved"))

    assert story.step("approved").due == story.now + LONGEST


@pytest.mark.parametrize(
    "story", [backing_off(), tell(step("a", to="x", undo="b"))], ids=["retry", "timeout"]
)
def test_only_its_timer_makes_sure_that_a_step_goes_on(story: Story):
    """M4: an answer may be lost. Guard: the WaitNode in moving.cancel_timer."""
    assert "would wait for ever" in refusal(story, cancelled("a"))


def test_what_is_not_due_cannot_be_moved():
    parked = tell(step("a", to="x", undo="b"), held=["x.do"])
    settled = tell(step("a", to="x", undo="b"), step("c", to="x", undo="d")).given(a=done())
    endless = tell(wait("approved"), step("a", to="x", undo="b"))

    assert "waits for room, not for a time" in refusal(parked, moved("a", 0))
    assert "nothing of it is due" in refusal(settled, moved("a", 0))
    assert "nothing of it is due" in refusal(endless, cancelled("approved"))
    assert "no step 'z' has begun" in refusal(settled, moved("z", 0))


def test_a_stuck_saga_has_no_timers_to_move():
    story = tell(
        pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y", timeout="10m"))
    ).given(p=done(), a=refused())  # fmt: skip
    assert story.status == "stuck"

    assert "the saga is stuck" in refusal(story, moved("b", 0))
    assert "the saga is stuck" in refusal(stuck_undo(), moved("a", 0))


def test_putting_the_last_thing_off_lets_a_saga_be_stuck():
    """C3: nothing else is due within a minute any more."""
    story = tell(pivot(step("p", to="x")), group(step("a", to="x"), step("b", to="y"))).given(p=done())
    story.given(a=refused(), b=failed())
    assert (story.status, story.phase("a"), story.phase("b")) == ("running", "stuck", "backoff")

    assert story.when(moved("b", HOUR)).status == "stuck"


def test_a_moved_saga_replays():
    """Invariant 10."""
    story = backing_off().given(moved("a", HOUR), moved(None, 2 * HOUR), timer("a")).given(a=never())

    assert story.replayed() == story.saga
