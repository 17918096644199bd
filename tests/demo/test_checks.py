"""Each check of the demo sees what it is there to see: a run's databases are falsified, and its verdict turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amends.demo.checks import CHECKS
from amends.demo.evidence import Databases
from amends.demo.exposition import Samples, read_samples
from tests.demo.conftest import ORDERS, Finished
from tests.demo.falsified import FAULTS, Fault

Tamper = Callable[..., Databases]


def test_everything_holds_after_a_run_as_it_should_be(finished: Finished) -> None:
    said = {verdict.number: verdict.findings for verdict in finished.outcome.verdicts if not verdict.holds}

    assert said == {}
    assert finished.outcome.passed
    assert finished.outcome.figures.sagas == ORDERS
    assert finished.outcome.figures.compensated > 5
    assert finished.outcome.figures.retries > 0


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.words for fault in FAULTS])
def test_a_falsified_database_turns_the_verdict(finished: Finished, tampered: Tamper, fault: Fault) -> None:
    databases = tampered(fault.which, fault.statement)

    verdict = finished.verdicts(databases)[fault.number]

    assert not verdict.holds
    assert all(verdict.said())


def test_every_check_has_a_fault_that_it_sees() -> None:
    assert {number for number, *_ in CHECKS} == {fault.number for fault in FAULTS}


def test_a_message_left_in_a_queue_is_a_finding(finished: Finished) -> None:
    verdict = finished.verdicts(finished.databases, queued={"demo.payments.do": 1, "demo.front": 0})[11]

    assert verdict.findings == ("1 messages are left in demo.payments.do",)


def test_without_faults_a_refusal_is_a_finding(finished: Finished) -> None:
    verdict = finished.verdicts(finished.databases, faults=False)[13]

    assert len(verdict.findings) == finished.outcome.figures.compensated


def test_metrics_that_cannot_be_read_are_a_finding(finished: Finished) -> None:
    assert not finished.verdicts(finished.databases, metrics=None)[17].holds


def test_a_counter_that_counted_twice_is_a_finding(finished: Finished) -> None:
    twice = Samples(tuple((name, labels, 2 * value) for name, labels, value in finished.metrics.rows))

    assert not finished.verdicts(finished.databases, metrics=twice)[17].holds


def test_a_long_list_of_findings_is_cut_short_for_people(finished: Finished, tampered: Tamper) -> None:
    databases = tampered("front", "UPDATE orders SET total_cents = total_cents + 1")

    said = finished.verdicts(databases)[2].said()

    assert len(said) == 6
    assert said[-1].startswith("and ")


def test_samples_are_read_with_labels_and_escapes() -> None:
    text = r"""# HELP a b
a_total{x="1",y="with \"quotes\" and } brace"} 2.0
a_total{x="2"} 3
b 1e3
"""

    samples = read_samples(text)

    assert samples.total("a_total") == 5
    assert samples.total("a_total", x="1") == 2
    assert samples.total("b") == 1000
    assert samples.total("none") == 0
