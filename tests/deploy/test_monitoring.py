"""Prometheus and Grafana: rules and targets, by Prometheus's own tool and against what the code measures."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry

from amends.coordinator.gauges import GaugeReadings, ScheduleReadings
from amends.coordinator.metrics import DatabaseGauges, PrometheusObserver
from amends.outbox.metrics import OutboxGauges, PrometheusOutbox
from amends.outbox.storage import OutboxStats
from amends.participants.breaker import CircuitBreaker
from amends.participants.metrics import metrics_in
from tests.deploy import compose
from tests.deploy.promql import grouped_by, selectors
from tests.waiting import DEADLINE_S

FOLDER: Final = compose.ROOT / "deploy" / "prometheus"
DASHBOARD: Final = compose.ROOT / "deploy" / "grafana" / "dashboards" / "amends.json"
RUNBOOK: Final = compose.ROOT / "docs" / "operations" / "deploy.md"
CONFIG: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
RULES: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
OUTBOX: Final = OutboxStats(pending=1, oldest_age_s=1.0, awaiting_receipt=1, parked=1)
PANELS: Final = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
# What others tell: Prometheus itself, RabbitMQ's plugin (asked in test_broker.py), PostgreSQL's exporter.
OF_OTHERS: Final = {
    "up": set[str](),
    "rabbitmq_alarms_memory_used_watermark": set[str](),
    "rabbitmq_alarms_free_disk_space_watermark": set[str](),
    "rabbitmq_detailed_queue_messages": {"queue", "vhost"},
    "rabbitmq_detailed_queue_consumers": {"queue", "vhost"},
    "pg_up": set[str](),
    "pg_stat_activity_max_tx_duration": {"datname", "state"},
    "pg_stat_activity_count": {"datname", "state"},
}


def run(promtool: Path, *arguments: str | Path) -> None:
    ran = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_takes_its_configuration(promtool):
    run(promtool, "check", "config", FOLDER / "prometheus.yml")


def test_prometheus_takes_the_rules(promtool):
    run(promtool, "check", "rules", FOLDER / "alerts.yml")


def test_every_alert_fires_when_it_must_and_only_then(promtool):
    run(promtool, "test", "rules", FOLDER / "alerts_test.yml")


@pytest.mark.parametrize("alert", sorted(RULES))
def test_an_alert_has_a_test_that_fires_and_one_that_does_not(alert):
    fires = silent = False
    for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]:
        for case in test["alert_rule_test"]:
            if case["alertname"] == alert:
                fires |= bool(case["exp_alerts"])
                silent |= not case["exp_alerts"]

    assert fires
    assert silent


@pytest.mark.parametrize("alert", sorted(RULES))
def test_an_alert_says_how_bad_it_is_and_where_its_runbook_stands(alert):
    rule = RULES[alert]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert compose.ROOT / page == RUNBOOK
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text("utf-8"), re.M)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_no_runbook_is_left_over():
    text = RUNBOOK.read_text("utf-8").split("\n## Runbook\n")[1].split("\n## ")[0]

    assert set(re.findall(r"^### (.+)$", text, re.M)) == RULES.keys()


def targets() -> dict[str, str]:
    """Every target and its job."""
    return {
        target: job["job_name"]
        for job in CONFIG["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }


def test_every_long_running_process_of_amends_is_scraped_where_it_shows_its_metrics():
    shown = set()
    for service in compose.our_services():
        if not service.ends:
            variable = "AMENDS_HTTP_PORT" if "coordinator" in service.words else "AMENDS_METRICS_PORT"
            shown.add(f"{service.name}:{service.environment[variable]}")

    assert {target for target, job in targets().items() if job.startswith("amends-")} == shown


def test_every_target_is_a_service_of_the_compose_file():
    hosts = {target.partition(":")[0] for target in targets()}

    assert hosts - {"localhost"} <= compose.services().keys()
    assert {"rabbitmq", "postgres-exporter"} <= hosts


def test_metrics_are_asked_for_at_the_path_that_shows_them():
    for job in CONFIG["scrape_configs"]:
        if job["job_name"].startswith("amends-"):
            assert job.get("metrics_path", "/metrics") == "/metrics"


def test_a_participant_is_called_by_its_service_in_every_series():
    for job in CONFIG["scrape_configs"]:
        if job["job_name"] in ("amends-participant", "amends-relay"):
            for group in job["static_configs"]:
                assert [target.partition(":")[0].partition("-")[0] for target in group["targets"]] == [
                    group["labels"]["service"]
                ]


@pytest.fixture(scope="module")
def measured() -> dict[str, set[str]]:
    """Every series that amends shows, with its labels, after everything it can count has happened once."""
    shown: dict[str, set[str]] = defaultdict(set)
    breaker = CircuitBreaker("carrier")  # Its series lasts as long as itself.
    breakers = set()
    for registry in (coordinator_registry(), outbox_registry(), participant_registry()):
        for family in registry.collect():
            for sample in family.samples:
                shown[sample.name] |= sample.labels.keys()
                if sample.name == "amends_breaker_state":
                    breakers.add(sample.labels["breaker"])
    assert breaker.name in breakers  # Others of this process may still stand beside it.
    return shown


def coordinator_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    observer.batch_done(1, 0.1)
    observer.saga_started("s")
    observer.saga_ended("s", "completed", 1.0)
    observer.saga_rejected("s")
    observer.step_stuck("s")
    observer.attempt("p", "do", "done", 0.1)
    observer.breaker("p.do", True)
    observer.schedule_fired("s")
    observer.schedule_missed("s", 1)
    observer.schedule_failed("s", 1)
    readings = GaugeReadings(
        live_sagas={("s", "running"): 1, ("s", "stuck"): 1},
        parked_steps={"p.do": 1},
        breakers={"p.do": True},
        schedules=ScheduleReadings(active=1, paused=1, failing=1, overdue_s=0.1),
        outbox=OUTBOX,
    )
    registry.register(DatabaseGauges(lambda: readings, broker_up=lambda: True))
    return registry


def outbox_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    observer = PrometheusOutbox(registry)
    observer.published("memory", 1)
    observer.confirmed("memory", [0.1])
    observer.unconfirmed("memory", "returned", 1)
    registry.register(OutboxGauges(lambda: OUTBOX, broker_up=lambda: True))
    return registry


def participant_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = metrics_in(registry)
    metrics.answered("p", "c", "do", "done")
    metrics.ran("p", "c", "do", 0.1)
    metrics.repeated("p", "do", "done")
    metrics.dead_lettered("p")
    metrics.overdue("p")
    return registry


def expressions() -> list[tuple[str, str]]:
    """Every expression of rules and dashboard, with where it stands."""
    found = [(alert, rule["expr"]) for alert, rule in sorted(RULES.items())]
    for panel in PANELS:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", ())]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_an_expression_names_metrics_and_labels_that_are_measured(where, expression, measured):
    # What Prometheus itself puts on every series, and prometheus.yml on those of services.
    of_targets = {"job", "instance", "service"}
    known = {**OF_OTHERS, **measured}
    expression = expression.replace("$__rate_interval", "5m")
    selected = selectors(expression)

    assert selected, "an expression without a metric"
    labels: set[str] = {"le"} if "histogram_quantile" in expression else set()
    for one in selected:
        assert one.metric in known, f"{one.metric} is not measured"
        assert one.labels <= known[one.metric] | of_targets
        labels |= known[one.metric] | of_targets
    assert grouped_by(expression) <= labels


def test_a_name_that_nobody_measures_would_be_told(measured):
    assert selectors('sum(rate(amends_saga_finished_total{status="x"}[5m])) > 0')[0].metric not in measured


def test_the_dashboard_shows_all_that_amends_measures(measured):
    shown = {one.metric for _, expression in expressions() for one in selectors(expression)}
    shown |= {re.sub(r"_bucket$|_sum$", "_count", name) for name in shown}
    shown |= {name.replace("_count", "_bucket") for name in shown} | {
        name.replace("_count", "_sum") for name in shown
    }
    left_out = {
        "amends_outbox_confirmed_total",  # published, less what was published in vain
        "amends_outbox_returned_total",  # one of what was published in vain
        "amends_outbox_parked_total",  # the gauge tells what is parked now
        "amends_outbox_received_total",  # the gauge tells what still waits
        "amends_outbox_taken_over_total",
        "amends_outbox_publish_batch_size_bucket",
        "amends_breaker_changes_total",  # the gauge tells what is open now
    }

    untold = {name for name in measured if not name.endswith(("_created", "_count", "_sum"))} - shown
    assert untold == left_out


def test_prometheus_takes_every_expression_of_the_dashboard(promtool, tmp_path):
    rules = [
        {
            "record": f"panel:{number}",
            "expr": expression.replace("$__rate_interval", "5m").replace("$saga", ".*"),
        }
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")

    run(promtool, "check", "rules", file)


def test_every_panel_asks_the_datasource_that_is_provisioned():
    folder = compose.ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    used = {panel["datasource"]["uid"] for panel in PANELS if panel["type"] != "row"}
    used |= {target["datasource"]["uid"] for panel in PANELS for target in panel.get("targets", ())}

    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_grafana_looks_for_dashboards_where_compose_mounts_them():
    folder = compose.ROOT / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "amends.yml").read_text("utf-8"))["providers"]
    grafana = compose.services()["grafana"]
    mounted = {mount.split(":")[1]: mount.split(":")[0] for mount in grafana.raw["volumes"]}

    for kind in ("datasources", "dashboards"):
        assert compose.ROOT / mounted[f"/etc/grafana/provisioning/{kind}"] == folder / kind
    path = provider["options"]["path"]
    assert compose.ROOT / mounted[path] == DASHBOARD.parent
    home = grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{path}/{DASHBOARD.name}"


def test_panels_do_not_lie_on_one_another():
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
