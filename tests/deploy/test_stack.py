"""The compose file at work, without Docker: its commands and variables, real servers, orders through all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import yaml
from sqlalchemy.engine import make_url

from amends.db.private_postgres import PrivatePostgres
from amends.demo.exposition import read_samples
from amends.outbox.ports import (
    Topology,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
    events_exchange,
    receipts_queue,
)
from amends.outbox.removal import remove
from tests.deploy import compose
from tests.deploy.promql import selectors
from tests.deploy.stack import Stack
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

SERVICES: Final = compose.services()
JOBS: Final = [
    service.name for service in compose.our_services() if service.ends and "profiles" not in service.raw
]
LONG_RUNNING: Final = [service.name for service in compose.our_services() if not service.ends]
ORDERS: Final = 20


@pytest.fixture(scope="module")
def stack(
    server: PrivatePostgres, secrets: Path, rabbit: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """All of amends in the file, up and ready."""
    prefix = "t-stack"
    with ExitStack() as running:
        running.callback(remove, rabbit.url, topology(prefix))
        stack = Stack(
            tmp_path_factory.mktemp("stack"),
            secrets,
            postgres=make_url(server.url()),
            amqp_url=rabbit.url,
            prefix=prefix,
            running=running,
        )
        for name in in_order(JOBS):
            ran = stack.run(name)
            assert ran.returncode == 0, f"{name}: {ran.stderr}"
        for name in LONG_RUNNING:
            stack.start(name)
        for name in LONG_RUNNING:
            path = "/readyz" if "coordinator" in name else "/metrics"
            eventually(lambda name=name, path=path: stack.asked(name, path), what=f"{name} to be ready")
        yield stack


def in_order(jobs: list[str]) -> list[str]:
    """Each job after those it waits for."""
    ordered: list[str] = []
    while len(ordered) < len(jobs):
        ordered += [
            job
            for job in jobs
            if job not in ordered
            and all(other in ordered for other in SERVICES[job].depends_on if SERVICES[other].ends)
        ]
    return ordered


def topology(prefix: str) -> Topology:
    commands = {
        command_queue(prefix, participant, undo=undo)
        for participant in ("inventory", "payments", "shipping")
        for undo in (False, True)
    }
    receipts = {receipts_queue(prefix, service) for service in ("front", "inventory", "payments", "shipping")}
    return Topology(
        queues=frozenset({coordinator_queue(prefix), dead_letter_queue(prefix), *commands, *receipts}),
        exchanges=frozenset({events_exchange(prefix)}),
    )


@pytest.fixture(scope="module")
def after_orders(stack: Stack) -> Stack:
    """The stack when some orders have been placed and every saga has ended."""
    placed = stack.run("orders", "--count", str(ORDERS))
    assert placed.returncode == 0, placed.stderr
    eventually(lambda: len(ended(stack)) >= ORDERS, what=f"{ORDERS} orders to end")
    return stack


def ended(stack: Stack) -> list[str]:
    listed = stack.run("cli", "sagas", "list", "--json", "--limit", "1000")
    assert listed.returncode == 0, listed.stderr
    statuses = [json.loads(line)["status"] for line in listed.stdout.splitlines()]
    return [status for status in statuses if status in ("completed", "compensated")]


def test_orders_go_through_all_of_it(after_orders):
    assert len(ended(after_orders)) == ORDERS
    assert "completed" in ended(after_orders)


def test_a_job_that_runs_again_changes_nothing(after_orders):
    for name in ("migrate-payments", "furnish-payments"):
        assert after_orders.run(name).returncode == 0
    assert len(ended(after_orders)) == ORDERS


def test_every_series_of_rules_and_dashboard_is_shown_by_the_process_it_is_asked_of(after_orders):
    """A registry knows a metric; here it is seen to be served."""
    shown = {
        sample[0]
        for name in LONG_RUNNING
        for sample in read_samples(after_orders.asked(name, "/metrics") or "").rows
    }
    rules = yaml.safe_load((compose.ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    panels = json.loads(
        (compose.ROOT / "deploy" / "grafana" / "dashboards" / "amends.json").read_text("utf-8")
    )
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in panels["panels"] for target in panel.get("targets", ())]

    asked = {one.metric for expression in expressions for one in selectors(expression)}
    # Born with their first event, and none of these has happened here.
    rare = {
        "amends_sagas_rejected_total",
        "amends_steps_stuck_total",
        "amends_sagas_stuck",
        "amends_steps_parked",
        "amends_breaker_open",
        "amends_sagas_running",
        "amends_outbox_unconfirmed_total",
        "amends_participant_barrier_hits_total",
        "amends_participant_dead_letters_total",
        "amends_participant_handlers_overdue_total",
        "amends_schedule_fired_total",
        "amends_schedule_missed_total",
        "amends_schedule_failed_total",
    }
    assert {name for name in asked if name.startswith("amends_")} - shown <= rare


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_outbox_is_watched(name, after_orders):
    """AmendsOutboxOld and AmendsOutboxParked see the outbox of every process."""
    samples = read_samples(after_orders.asked(name, "/metrics") or "")

    names = {row[0] for row in samples.rows}
    assert {"amends_outbox_oldest_age_seconds", "amends_outbox_parked_rows", "amends_database_up"} <= names
    assert samples.total("amends_outbox_parked_rows") == 0


def test_both_coordinators_take_orders_from_whoever_has_a_token_and_from_nobody_else(after_orders):
    for name in ("coordinator-1", "coordinator-2"):
        assert after_orders.asked(name, "/healthz") is not None
        assert after_orders.asked(name, "/sagas") is None


def test_everything_ends_when_it_is_told_to_and_says_so(after_orders):
    for name in LONG_RUNNING:
        after_orders.processes[name].stop()

        assert not after_orders.processes[name].alive()
        assert re.search(r"(coordinator|worker|relay)_stopped", after_orders.log(name)), after_orders.log(
            name
        )
