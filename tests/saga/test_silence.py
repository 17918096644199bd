"""Silence, time and closed queues: M4, M5, M6, E4, O5, E2."""

from __future__ import annotations

import pytest

from amends.coordinator import group, pivot, retry, step
from amends.coordinator.saga.events import TimerFired
from tests.saga.story import (
    HOUR,
    MINUTE,
    SECOND,
    Story,
    admitted,
    compensate,
    deadline,
    do,
    done,
    expired,
    failed,
    fence,
    internal_error,
    nothing,
    refused,
    tell,
    timer,
    undo,
    unsendable,
)  # fmt: skip
from tests.saga.story import (
    retry as ann_retries,
)


def order(**charge: object) -> Story:
    """Stock is reserved; the charge is under way."""
    return tell(
        step("reserve", to="inventory", undo="release"),
        step("charge", to="payments", undo="refund", **charge),
    ).given(reserve=done())


# M4


def test_m4_silence_is_tried_again_under_a_new_attempt():
    story = order(timeout="20s")
    assert story.step("charge").due == story.now + 20 * SECOND

    story.when(timer("charge"))
    assert story.phase("charge") == "backoff"
    story.when(timer("charge"))

    assert story.commands == [do("charge")]
    assert story.sent[0].attempt == 2


def test_m4_silence_given_up_is_compensated():
    story = order(retry=retry(limit=0))

    story.when(timer("charge"))

    assert story.commands == [undo("charge")]
    assert story.step("charge").did == "unknown"
    assert "no answer within 30s" in story.saga.cause


def test_m4_a_timer_of_an_older_attempt_changes_nothing():
    story = order()
    stale = TimerFired(path="charge", attempt=1)
    story.given(timer("charge"), timer("charge"))

    assert story.when(stale).changes == 0


def test_m4_a_timer_of_a_settled_step_changes_nothing():
    story = order()

    assert story.when(TimerFired(path="reserve", attempt=1)).changes == 0


def test_m4_an_unspent_timeout_counts_nothing_against_the_limit():
    story = order(retry=retry(limit=0))

    story.when(timer("charge", spent=False))

    assert story.phase("charge") == "backoff"
    assert story.step("charge").spent == 0


# M5


def test_m5_pauses_double_up_to_the_longest_and_vary_a_little():
    story = order()
    pauses = []
    for _ in range(10):
        story.when(charge=failed())
        due = story.step("charge").due
        assert due is not None
        pauses.append(due - story.now)
        story.when(timer("charge"))

    for pause, full in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert 0.8 * full * SECOND <= pause <= full * SECOND
    assert len(set(pauses[-4:])) == 4


def test_m5_jitter_is_the_same_in_every_replay():
    first, second = order().when(charge=failed()), order().when(charge=failed())

    assert first.step("charge").due == second.step("charge").due


def test_m5_forward_steps_are_tried_until_the_deadline():
    story = order()
    for _ in range(2_000):
        story.when(charge=failed()).when(timer("charge"))
    assert story.status == "running"

    story.when(deadline())

    assert story.commands == [undo("charge")]
    assert story.saga.cause == "the deadline has passed"


def test_m5_within_gives_up_when_the_next_try_would_come_too_late():
    story = order(retry=retry(first="10s", factor=1, longest="10s", within="25s"))

    story.given(charge=failed()).given(timer("charge"))
    story.given(charge=failed()).given(timer("charge"))
    assert story.status == "running"

    assert story.when(charge=failed()).status == "compensating"


def test_m5_an_undo_is_tried_for_a_day_and_then_stuck():
    story = order().given(charge=refused())
    began = story.now
    while story.status == "compensating":
        story.when(reserve=failed("locked")).when(*[timer("reserve")] * (story.status == "compensating"))

    assert story.now - began == pytest.approx(24 * HOUR, rel=0.01)
    assert story.status == "stuck"
    assert "locked" in story.step("reserve").error


def test_m5_a_step_after_the_pivot_is_tried_for_a_day_and_then_stuck():
    story = tell(pivot(step("p", to="x")), step("mail", to="mail"), deadline="1h").given(p=done())
    began = story.now
    while story.status == "running":
        story.when(mail=failed("down")).when(*[timer("mail")] * (story.status == "running"))

    assert story.now - began == pytest.approx(24 * HOUR, rel=0.01)
    assert story.status == "stuck"


def test_m5_a_huge_number_of_failures_overflows_nothing():
    story = order(retry=retry(first="24h", longest="24h", factor=100))
    for _ in range(400):
        story.when(charge=failed()).when(timer("charge"))

    assert story.status == "running"


def test_a_deadline_that_was_moved_is_not_reached_by_its_old_timer():
    story = order()
    story.given(charge=failed()).given(ann_retries(deadline=48 * HOUR))
    story.now += 25 * HOUR

    story.when(lambda _: deadline_event(story))

    assert story.changes == 0
    assert story.when(deadline()).status == "compensating"


def deadline_event(story: Story) -> object:
    """The deadline's timer as it fires, whatever the time."""
    now = story.now
    event = deadline()(story)
    story.now = now
    return event


# M6, E4


def test_m6_what_meets_a_closed_queue_is_parked_without_a_timer():
    story = order().holding("payments.do")
    fresh = tell(step("charge", to="payments", undo="refund"), held=["payments.do"])

    assert fresh.commands == []
    assert fresh.phase("charge") == "parked"
    assert fresh.step("charge").due is None
    assert story.when(timer("charge")).when(timer("charge")).phase("charge") == "parked"


def test_m6_a_parked_command_is_sent_when_it_is_admitted():
    story = tell(step("charge", to="payments", undo="refund"), held=["payments.do"])

    story.when(admitted("charge"))

    assert story.commands == [do("charge")]
    assert story.sent[0].attempt == 1


def test_m6_admitting_what_is_not_parked_changes_nothing():
    assert order().when(admitted("charge")).changes == 0


def test_m6_time_parked_or_held_is_excused_from_the_policy():
    story = order(retry=retry(within="1h"))
    story.given(timer("charge", excused=30 * HOUR))
    assert story.status == "running"
    story.holding("payments.do").given(timer("charge")).after(30 * HOUR)
    assert story.phase("charge") == "parked"

    story.given(admitted("charge", excused=30 * HOUR)).given(charge=failed())

    assert story.status == "running"
    assert story.phase("charge") == "backoff"


def test_m6_the_undo_queue_is_not_the_do_queue():
    story = order().holding("payments.do", "inventory.do")

    assert story.when(charge=refused()).commands == [undo("reserve")]


def test_m6_an_undo_meets_its_own_queue_s_breaker():
    story = order().holding("inventory.undo").given(charge=refused())
    assert story.phase("reserve") == "parked"

    assert story.when(admitted("reserve")).commands == [undo("reserve")]


def test_m6_a_reply_to_an_earlier_attempt_frees_a_parked_retry():
    story = order().holding("payments.do").given(timer("charge"), timer("charge"))
    assert story.phase("charge") == "parked"

    assert story.when(charge=done()).status == "completed"


# C1, parked


def test_c1_parked_and_never_sent_there_is_nothing_to_undo():
    story = tell(
        group(step("a", to="x", undo="u"), step("b", to="payments", undo="refund")), held=["payments.do"]
    )

    story.when(a=refused())

    assert story.status == "compensated"
    assert story.commands == []
    assert story.when(admitted("b")).changes == 0


def test_c1_a_parked_retry_of_what_was_sent_is_undone():
    story = order().holding("payments.do").given(timer("charge"), timer("charge"))

    assert story.when(compensate()).commands == [undo("charge")]


# O5


def test_o5_a_command_that_can_never_be_sent_turns_back():
    story = order()

    story.when(unsendable("charge"))

    assert story.commands == [undo("reserve")]
    assert story.step("charge").did == "refused"
    assert "too large" in story.saga.cause


def test_o5_a_pivot_that_can_never_be_sent_turns_back_without_a_fence():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x"))).given(a=done())

    assert story.when(unsendable("p")).commands == [undo("a")]


def test_o5_a_pivot_that_was_sent_before_is_fenced():
    story = tell(step("a", to="x", undo="u"), pivot(step("p", to="x"))).given(a=done())
    story.given(timer("p"), timer("p"))

    assert story.when(unsendable("p")).commands == [fence("p")]


def test_o5_after_the_pivot_it_is_stuck():
    story = tell(pivot(step("p", to="x")), step("mail", to="mail")).given(p=done())

    story.when(unsendable("mail"))

    assert (story.status, story.stuck) == ("stuck", ["mail"])


def test_o5_an_undo_that_can_never_be_sent_is_stuck():
    story = order().given(charge=refused())

    story.when(unsendable("reserve"))

    assert (story.status, story.stuck) == ("stuck", ["reserve"])
    assert "too large" in story.step("reserve").error


def test_o5_of_an_attempt_that_is_over_it_says_nothing():
    story = order()
    late = unsendable("charge")(story)
    story.given(timer("charge"), timer("charge"))

    assert story.when(late).changes == 0


# B6


def test_b6_an_expired_do_makes_the_saga_stuck():
    story = order()

    story.when(charge=expired())

    assert (story.status, story.stuck) == ("stuck", ["charge"])


def test_b6_an_expired_undo_makes_the_saga_stuck():
    story = order().given(charge=refused())

    assert story.when(reserve=expired()).status == "stuck"


# E2


def test_e2_an_internal_error_makes_the_saga_stuck_at_once():
    story = order()

    story.when(internal_error("KeyError: 'x'"))

    assert story.status == "stuck"
    assert story.stuck == [""]
    assert story.saga.cause == "internal error: KeyError: 'x'"
    assert story.when(internal_error("KeyError: 'x'")).changes == 0


def test_e2_an_operator_moves_it_on():
    story = order().given(internal_error())

    story.when(ann_retries())

    assert story.status == "running"
    assert story.saga.cause == ""
    assert story.commands == [do("charge")]
    assert story.step("charge").round == 1


def test_e2_its_replies_are_recorded_and_evaluated_when_it_moves():
    story = order().given(internal_error())
    story.given(charge=done())
    assert story.status == "stuck"

    story.when(ann_retries())

    assert story.status == "completed"


def test_e2_while_it_compensates_its_cause_is_kept():
    story = order().given(charge=refused("declined")).given(internal_error())

    assert story.saga.cause == "step 'charge' was refused: declined; internal error: boom"
    assert story.when(ann_retries()).commands == [undo("reserve")]
    assert story.when(reserve=nothing()).status == "compensated"


def test_nothing_is_due_after_a_minute_means_stuck_only_with_a_stuck_step():
    story = order(timeout="10m")

    assert story.step("charge").due == story.now + 10 * MINUTE
    assert story.status == "running"
