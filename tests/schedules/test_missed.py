"""What becomes of instants that passed: each policy, and its bounds."""

from __future__ import annotations

import time

import pytest

from amends.coordinator.schedules.cron import Cron
from amends.coordinator.schedules.missed import COUNTED_MAX, FIRED_MAX, MADE_UP_MAX, Missed, Plan, plan

MINUTE = 60_000
HOUR = 60 * MINUTE
NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z
EVERY_MINUTE = Cron("* * * * *", "UTC")
EVERY_HOUR = Cron("0 * * * *", "UTC")


def planned(cron: Cron, policy: Missed, due: int, now: int) -> Plan:
    return plan(cron, policy, due, now, late_ms=MINUTE)


@pytest.mark.parametrize("policy", list(Missed))
def test_what_is_due_now_is_fired_and_the_next_is_set(policy: Missed) -> None:
    assert planned(EVERY_HOUR, policy, NOON, NOON + 700) == Plan((NOON,), NOON + HOUR, 0)


def test_after_an_outage_once_fires_for_the_latest_instant() -> None:
    made = planned(EVERY_HOUR, Missed.ONCE, NOON, NOON + 3 * HOUR + 5 * MINUTE)

    assert made == Plan((NOON + 3 * HOUR,), NOON + 4 * HOUR, 3)


def test_after_an_outage_skip_fires_nothing_that_is_late() -> None:
    made = planned(EVERY_HOUR, Missed.SKIP, NOON, NOON + 3 * HOUR + 5 * MINUTE)

    assert made == Plan((), NOON + 4 * HOUR, 4)


def test_after_an_outage_skip_fires_what_is_due_just_now() -> None:
    made = planned(EVERY_HOUR, Missed.SKIP, NOON, NOON + 3 * HOUR + 1)

    assert made == Plan((NOON + 3 * HOUR,), NOON + 4 * HOUR, 3)


@pytest.mark.parametrize(("overdue", "fires"), [(MINUTE, True), (MINUTE + 1, False)])
def test_skip_calls_late_what_is_overdue_by_more_than_the_limit(overdue: int, fires: bool) -> None:
    made = planned(EVERY_HOUR, Missed.SKIP, NOON, NOON + overdue)

    assert made == Plan((NOON,) if fires else (), NOON + HOUR, 0 if fires else 1)


def test_after_an_outage_all_makes_up_for_each_oldest_first() -> None:
    made = planned(EVERY_HOUR, Missed.ALL, NOON, NOON + 3 * HOUR + 5 * MINUTE)

    assert made == Plan(tuple(NOON + hour * HOUR for hour in range(4)), NOON + 4 * HOUR, 0)


def test_all_is_bounded_by_number_and_by_transaction() -> None:
    """The rest stays due, and is planned from where the first left off."""
    now = NOON + 8 * HOUR + 1
    instants = [NOON + minute * MINUTE for minute in range(8 * 60 + 1)][-MADE_UP_MAX:]

    made = planned(EVERY_MINUTE, Missed.ALL, NOON, now)
    then = planned(EVERY_MINUTE, Missed.ALL, made.next_due, now)

    assert made == Plan(tuple(instants[:FIRED_MAX]), instants[FIRED_MAX], 8 * 60 + 1 - MADE_UP_MAX)
    assert then == Plan(tuple(instants[FIRED_MAX : 2 * FIRED_MAX]), instants[2 * FIRED_MAX], 0)


@pytest.mark.parametrize("policy", list(Missed))
def test_an_outage_of_years_is_planned_in_no_time(policy: Missed) -> None:
    """Every minute of ten years are five million instants. Guard: COUNTED_MAX in missed._passed."""
    now = NOON + 10 * 365 * 24 * HOUR
    began = time.process_time()

    made = planned(EVERY_MINUTE, policy, NOON, now)

    assert time.process_time() - began < 2
    assert made.missed >= COUNTED_MAX - MADE_UP_MAX
    assert made.fire[-1] > now - 2 * MADE_UP_MAX * MINUTE
    assert made.next_due == (now + MINUTE if policy is not Missed.ALL else made.fire[-1] + MINUTE)


def test_rare_instants_of_a_long_outage_are_all_found() -> None:
    cron = Cron("0 0 29 2 *", "UTC")
    leap_days = 4 * 365 * 24 * HOUR

    made = planned(cron, Missed.ALL, cron.next(NOON), NOON + 9 * leap_days)

    assert len(made.fire) == 9
