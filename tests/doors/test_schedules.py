"""Schedules by HTTP and by command: added, looked at, paused, resumed, removed; what is told and counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from amends.coordinator.gauges import read_gauges
from amends.outbox.broker import open_broker
from tests.doors.house import INPUT, TOKENS, House, Run, Said, order, problem
from tests.doors.test_metrics import counted, samples, value
from tests.engine.scheduled import SWEEP, add, make_due
from tests.engine.world import World
from tests.waiting import eventually

__all__ = ["counted"]

NIGHTLY: dict[str, Any] = {"name": "nightly", "cron": "0 3 1 1 *", "saga": "place-order", "input": INPUT}


@pytest.fixture
def shop(house: House, amends: Run) -> Run:
    """Runs `amends ...` against a running coordinator."""

    def run(*arguments: str, **how: str) -> Said:
        return amends(*arguments, url=house.server.url, **how)

    return run


def test_a_schedule_is_added_looked_at_and_removed(house: House) -> None:
    http = house.http()

    added = http.post("/schedules", json={**NIGHTLY, "timezone": "Europe/Berlin", "labels": {"a": "b"}})
    again = http.post("/schedules", json={**NIGHTLY, "timezone": "Europe/Berlin", "labels": {"a": "b"}})
    other = http.post("/schedules", json=NIGHTLY)

    assert (added.status_code, again.status_code) == (201, 200)
    assert added.headers["location"] == "/schedules/nightly"
    due = datetime.fromisoformat(added.json()["next_due_at"])
    assert (due.month, due.day, due.hour, due.utcoffset()) == (1, 1, 2, UTC.utcoffset(None))
    assert {**added.json(), "changed": False} == again.json()
    assert problem(other) == (409, "schedule_stands", "name")
    plain = http.get("/schedules/nightly").json()
    assert plain["input"] is None
    assert http.get("/schedules/nightly", params={"payloads": True}).json()["input"] == INPUT
    assert [moment[4:] for moment in plain["upcoming"]] == ["-01-01T02:00:00Z"] * 5
    assert [one["name"] for one in http.get("/schedules").json()["schedules"]] == ["nightly"]
    removed = http.post("/schedules/nightly/remove", json={"reason": "not needed"})
    assert {**removed.json(), "changed": True} == added.json()
    assert http.get("/schedules").json() == {"schedules": []}
    assert problem(http.get("/schedules/nightly")) == (404, "unknown_schedule", "name")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cron": "every day"}, (422, "invalid_schedule", "cron")),
        ({"cron": "0 0 30 2 *"}, (422, "invalid_schedule", "cron")),
        ({"timezone": "Berlin"}, (422, "invalid_schedule", "timezone")),
        ({"labels": {"due": "x"}}, (422, "invalid_schedule", "labels")),
        ({"input": {"sku": 3, "amount": 1}}, (422, "invalid_input", "sku")),
        ({"saga": "place-ordre"}, (409, "unknown_definition", "saga")),
        ({"version": 9}, (409, "unknown_definition", "version")),
        ({"missed": "some"}, (422, "invalid_request", "missed")),
        ({"name": "a/b"}, (422, "invalid_request", "name")),
        ({"every": "5m"}, (422, "invalid_request", "every")),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(
    shared_house: House, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    answer = shared_house.http().post("/schedules", json={**NIGHTLY, **fields})

    assert problem(answer) == expected
    assert shared_house.http().get("/schedules").json() == {"schedules": []}


def test_acts_are_audited_with_the_tokens_name(house: House) -> None:
    guarded = House(house.world, tokens=TOKENS)
    try:
        assert (
            guarded.http("apply").post("/schedules", json={**NIGHTLY, "reason": "launch"}).status_code == 201
        )
        for act, role in (("pause", "operate"), ("resume", "operate"), ("remove", "apply")):
            answer = guarded.http(role).post(f"/schedules/nightly/{act}", json={"reason": f"to {act}"})
            assert answer.status_code == 200, answer.text
            assert (answer.json()["next_due_at"] is None) == (act == "pause")
    finally:
        guarded.close()

    with house.world.database.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT act, actor, reason, details->>'name' FROM amends.audit WHERE act LIKE 'schedule%%' ORDER BY id"
        ).all()
    assert [tuple(row) for row in rows] == [
        ("schedule_add", "apply-token", "launch", "nightly"),
        ("schedule_pause", "operate-token", "to pause", "nightly"),
        ("schedule_resume", "operate-token", "to resume", "nightly"),
        ("schedule_remove", "apply-token", "to remove", "nightly"),
    ]


def test_a_schedule_is_kept_by_commands(shop: Run, house: House, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text(json.dumps(INPUT))
    cron = ("--cron", "0 3 1 1 *", "--timezone", "Europe/Berlin")

    added = shop("schedule", "add", "nightly", *cron, "--saga", "place-order", "--input", str(file), "--json")
    again = shop("schedule", "add", "nightly", *cron, "--saga", "place-order", "--input", json.dumps(INPUT))
    listed = shop("schedule", "list")
    make_due(house.world)
    eventually(
        lambda: shop("schedule", "show", "nightly", "--json").json["fired_runs"] == 1, what="it to fire"
    )
    shown = shop("schedule", "show", "nightly", "--payloads")
    paused = shop("schedule", "pause", "nightly", "--reason", "stocktaking", "--json")
    while_paused = shop("schedule", "list")
    resumed = shop("schedule", "resume", "nightly", "--reason", "done")
    twice = shop("schedule", "resume", "nightly", "--reason", "done")
    assert "resume: unchanged" in twice.err  # Guard: `changed` of the answer.
    removed = shop("schedule", "remove", "nightly", "--reason", "done")
    gone = shop("schedule", "show", "nightly")

    assert [one.status for one in (added, again, listed, shown, paused, resumed, removed)] == [0] * 7
    assert added.json["missed"] == "once"
    assert "schedule nightly: unchanged; due next at" in again.err
    for text in ("nightly", "0 3 1 1 * Europe/Berlin", "place-order", "-01-01 03:00:00 CET"):
        assert text in listed.out
    for text in ("fired     1 times, last for", "as saga", '"sku": "tea"', "-01-01 03:00:00 CET"):
        assert text in shown.out
    assert paused.json["paused_at"] is not None
    assert "paused" in while_paused.out
    assert "due next at" in resumed.err
    assert (gone.status, "amends schedule list" in gone.err) == (1, True)
    assert "no schedules" in shop("schedule", "list").out


def test_what_becomes_of_runs_is_counted(counted: House) -> None:
    """Counters by schedule; gauges from the database (invariant 17)."""
    world, http = counted.world, counted.http()
    world.register(order())
    for name, missed in (("good", "once"), ("skips", "skip"), ("bad", "once")):
        assert http.post("/schedules", json={**NIGHTLY, "name": name, "missed": missed}).status_code == 201
    make_due(world, "good")
    make_due(world, "skips", ago_s=300)
    eventually(lambda: http.get("/schedules/good").json()["fired_runs"] == 1, what="one to fire")
    eventually(lambda: http.get("/schedules/skips").json()["missed_runs"] == 1, what="one to be missed")
    with world.database.begin() as connection:
        connection.exec_driver_sql("UPDATE amends.definition SET active = false")
    make_due(world, "bad")
    eventually(lambda: http.get("/schedules/bad").json()["error"], what="one to fail")
    http.post("/schedules/good/pause", json={"reason": "x"})

    def told() -> bool:
        scraped = samples(http.get("/metrics").text)
        return (
            value(scraped, "amends_schedule_fired_total", schedule="good") == 1
            and value(scraped, "amends_schedule_missed_total", schedule="skips") == 1
            and value(scraped, "amends_schedule_failed_total", schedule="bad") == 1
            and value(scraped, "amends_schedules", state="active") == 2
            and value(scraped, "amends_schedules", state="paused") == 1
            and value(scraped, "amends_schedules_failing") == 1
            and value(scraped, "amends_schedules_overdue_seconds") == 0
        )

    eventually(told, what="the metrics to tell")


def test_overdue_is_what_nobody_gets_to(coordinator_database: Engine) -> None:
    """Neither what is paused nor what tells itself why it does not fire."""
    world = World(coordinator_database, open_broker("memory://nobody-fires"), "nobody-fires")
    world.register(SWEEP)
    add(world)
    make_due(world, ago_s=100)

    assert 100 <= read_gauges(coordinator_database).schedules.overdue_s < 200
    for held in (
        "last_error = 'suspended', failed_at = now()",
        "paused_at = now(), last_error = NULL, failed_at = NULL",
    ):
        with coordinator_database.begin() as connection:
            connection.exec_driver_sql(f"UPDATE amends.schedule SET {held}")
        assert read_gauges(coordinator_database).schedules.overdue_s == 0
    world.close()
