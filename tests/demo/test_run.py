"""What a run comes to: its pace, its figures, and when it counts as passed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from amends.db.engines import transaction
from amends.demo.checks import Verdict
from amends.demo.figures import Figures, percentile
from amends.demo.orders import own_orders
from amends.demo.report import json_line
from amends.demo.run import FEW, Outcome, Pace
from amends.demo.shop import front

FIGURES = Figures(
    sagas=10, completed=8, compensated=2, stuck=0, unfinished=0, retries=1, seconds=2.0, p50_ms=1, p99_ms=2
)
HOLDS = Verdict(1, "it holds", ())
BROKEN = Verdict(2, "it does not", ("a finding",))


def test_a_run_passes_if_every_order_ended_and_every_invariant_holds() -> None:
    assert Outcome(figures=FIGURES, verdicts=[HOLDS]).passed


@pytest.mark.parametrize("field", ["stuck", "unfinished"])
def test_a_stuck_or_unfinished_order_is_a_failure_though_every_invariant_holds(field: str) -> None:
    assert not Outcome(figures=replace(FIGURES, **{field: 1}), verdicts=[HOLDS]).passed


def test_one_broken_invariant_is_a_failure() -> None:
    assert not Outcome(figures=FIGURES, verdicts=[HOLDS, BROKEN]).passed


def test_the_json_names_each_invariant_by_its_number() -> None:
    told = json.loads(json_line(Outcome(figures=FIGURES, verdicts=[HOLDS, BROKEN])))

    assert told["invariants"] == {"1": True, "2": False}
    assert told["sagas_per_second"] == 5.0


def test_a_run_in_which_nothing_ended_has_a_rate_of_nothing() -> None:
    assert replace(FIGURES, seconds=0.0).per_second == 0.0


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(percent: int, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_of_nothing_every_percentile_is_nothing() -> None:
    assert percentile([], 99) == 0.0


def test_a_faster_stage_gets_more_orders_at_once() -> None:
    slow, fast = Pace(0.0), Pace(0.0)

    for second in range(1, 6):
        slow_max, fast_max = slow.under_way_max(10 * second, second), fast.under_way_max(300 * second, second)

    assert (slow_max, fast_max) == (FEW + 5, FEW + 150)


def test_a_stage_where_nothing_ends_still_gets_a_few() -> None:
    assert Pace(0.0).under_way_max(0, 1.0) == FEW


def test_a_customer_who_presses_twice_puts_two_starts_of_one_saga(participant_database: Engine) -> None:
    twice = own_orders()[76]
    with transaction(participant_database) as connection:
        front.metadata.create_all(connection)

    front.Front(participant_database, prefix="t").place([twice])

    with transaction(participant_database) as connection:
        starts = connection.execute(
            text("SELECT correlation_id, count(*) FROM amends_outbox GROUP BY 1")
        ).all()
        orders = connection.execute(text("SELECT saga_id::text FROM orders")).scalars().all()
    assert [tuple(start) for start in starts] == [(orders[0], 2)]
