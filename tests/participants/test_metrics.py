"""A participant's metrics, scraped and compared with its database (invariant 17)."""

from __future__ import annotations

import urllib.request
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, func, select

from amends.db.tables.participant import barrier
from amends.outbox.metrics import OutboxGauges
from amends.outbox.storage import OutboxStats
from amends.outbox.wire import Op
from amends.participants import CircuitBreaker
from amends.participants.metrics import metrics_in, outbox_metrics_in
from amends.participants.scraping.metrics import served
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.test_worker import payments
from tests.waiting import DEADLINE_S


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """What Prometheus sees: name and label values to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


def gauges() -> OutboxGauges:
    """An outbox that is not looked at here."""
    return OutboxGauges(lambda: OutboxStats(0, 0.0, 0, 0), broker_up=lambda: True)


def test_what_is_scraped_is_what_the_database_says(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    registry = CollectorRegistry()
    coordinator = coordinator_of("payments")
    start_worker(payments(), metrics=metrics_in(registry), outbox_observer=outbox_metrics_in(registry))
    charges = [
        command("charge", {"card": card, "amount": 1}) for card in ("visa", "visa", "blocked", "broken")
    ]

    for charge in charges:
        coordinator.ask(charge)
    coordinator.ask(again(charges[0], attempt=2))
    coordinator.ask(again(charges[0], op=Op.UNDO, command="refund", attempt=3))
    coordinator.ask(command("typo", {}))
    with served(0, gauges(), host="127.0.0.1", registry=registry) as port:
        seen = scraped(port)

    assert {
        name: value for name, value in seen.items() if name[0] == "amends_participant_commands_total"
    } == {
        ("amends_participant_commands_total", "charge", "do", "done", "payments"): 3,
        ("amends_participant_commands_total", "charge", "do", "refused", "payments"): 1,
        ("amends_participant_commands_total", "charge", "do", "failed", "payments"): 1,
        ("amends_participant_commands_total", "refund", "undo", "done", "payments"): 1,
        ("amends_participant_commands_total", "unknown", "do", "failed", "payments"): 1,
    }
    assert seen["amends_participant_barrier_hits_total", "do", "done", "payments"] == 1
    assert seen["amends_participant_handler_seconds_count", "charge", "do", "payments"] == 4
    assert rows(module_postgresql, charges) == {("do", "done"): 2, ("do", "refused"): 1, ("undo", "done"): 1}
    assert seen["amends_outbox_published_total", "memory"] == 7


def rows(engine: Engine, charges: list[Any]) -> dict[tuple[str, str], int]:
    """The barrier's rows of these sagas, counted."""
    query = (
        select(barrier.c.op, barrier.c.outcome, func.count())
        .where(barrier.c.saga_id.in_([charge.saga for charge in charges]))
        .group_by(barrier.c.op, barrier.c.outcome)
    )
    with engine.connect() as connection:
        return {(op, outcome): number for op, outcome, number in connection.execute(query)}


def test_a_breakers_state_is_shown_as_it_is_when_it_is_scraped() -> None:
    registry = CollectorRegistry()
    metrics_in(registry)
    breaker = CircuitBreaker("bank of metrics", failures=1)
    with served(0, gauges(), host="127.0.0.1", registry=registry) as port:
        before = scraped(port)["amends_breaker_state", "bank of metrics"]
        try:
            with breaker:
                raise ConnectionError("down")
        except ConnectionError:
            after = scraped(port)["amends_breaker_state", "bank of metrics"]

    assert (before, after) == (0, 2)


def test_an_unknown_commands_name_never_becomes_a_label(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    registry = CollectorRegistry()
    coordinator = coordinator_of("payments")
    start_worker(payments(), metrics=metrics_in(registry))

    for number in range(5):
        coordinator.ask(command(f"attack-{number}", {}))
    with served(0, gauges(), host="127.0.0.1", registry=registry) as port:
        seen = scraped(port)

    assert not any("attack" in part for name in seen for part in name)
