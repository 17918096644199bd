"""What Prometheus scrapes agrees with the database (invariant 17), and its label sets are bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.gauges import GaugeReadings, ScheduleReadings, read_gauges
from amends.coordinator.metrics import (
    OTHER,
    BoundedNames,
    DatabaseGauges,
    PrometheusObserver,
    exposition,
    new_registry,
)
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.metrics import PrometheusOutbox
from amends.outbox.storage import OutboxStats
from tests.doors.house import INPUT, House, order
from tests.engine.scheduled import add, make_due
from tests.engine.scripted import reply
from tests.engine.world import World, start
from tests.waiting import eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(scraped: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(
        number for (found, its), number in scraped.items() if found == name and labels.items() <= set(its)
    )


@pytest.fixture
def counted(coordinator_database: Engine) -> Iterator[House]:
    """A house whose coordinator counts, as `amends coordinator` wires it."""
    registry = new_registry()
    name = f"t{uuid4().hex[:8]}"
    world = World(coordinator_database, open_broker(f"memory://{name}"), name)
    world.coordinator = Coordinator(
        coordinator_database,
        world.broker,
        prefix=name,
        observer=PrometheusObserver(registry),
        outbox_observer=PrometheusOutbox(registry),
    )
    house = House(world.start(), registry=registry)
    yield house
    house.close()
    world.close()


def test_what_is_scraped_agrees_with_the_database(
    counted: House, make_order: Callable[[House], None]
) -> None:
    """Invariant 17: gauges, and counters too, since no process was killed."""
    make_order(counted)
    http, database = counted.http(), counted.world.database

    scraped = eventually(lambda: settled(http.get("/metrics").text), what="the outbox to drain")

    with database.connect() as connection:
        by_status = dict(
            connection.exec_driver_sql("SELECT status, count(*) FROM amends.saga GROUP BY status").all()  # type: ignore[arg-type]
        )
    assert by_status == {"completed": 3, "compensated": 1, "stuck": 1, "running": 1}
    assert value(scraped, "amends_sagas_started_total", saga="place-order") == 6
    for status in ("completed", "compensated"):
        finished = value(scraped, "amends_sagas_finished_total", saga="place-order", status=status)
        assert finished == by_status[status]
        assert value(scraped, "amends_saga_duration_seconds_count", status=status) == by_status[status]
    assert value(scraped, "amends_sagas_stuck", saga="place-order") == 1
    assert value(scraped, "amends_steps_stuck_total", saga="place-order") == 1
    assert value(scraped, "amends_sagas_running", saga="place-order", status="running") == 1
    assert value(scraped, "amends_sagas_rejected_total") == 1
    assert value(scraped, "amends_outbox_pending") == 0
    assert value(scraped, "amends_database_up") == value(scraped, "amends_broker_up") == 1
    attempts = {
        outcome: value(
            scraped, "amends_step_attempts_total", participant="payments", op="do", outcome=outcome
        )
        for outcome in ("done", "refused")
    }
    assert attempts == {"done": 3, "refused": 2}
    assert value(scraped, "amends_step_attempt_duration_seconds_count", participant="payments", op="do") == 5
    batches = value(scraped, "amends_batch_size_count")
    assert batches == value(scraped, "amends_batch_duration_seconds_count") > 0
    assert value(scraped, "amends_batch_size_sum") >= batches
    assert value(scraped, "amends_outbox_confirmed_total") > 0


def test_suspended_sagas_and_the_starts_they_hold_are_scraped(counted: House) -> None:
    counted.world.register(order())
    http = counted.http()
    http.post("/definitions/place-order/suspend", json={})
    http.post("/sagas", json={"name": "place-order", "input": INPUT})

    scraped = samples(http.get("/metrics").text)
    http.post("/definitions/place-order/resume", json={})
    later = samples(http.get("/metrics").text)

    assert value(scraped, "amends_starts_held_total", saga="place-order") == 1
    assert value(scraped, "amends_sagas_suspended", saga="place-order") == 1
    assert value(later, "amends_sagas_suspended") == 0


def test_a_held_start_is_counted_once_however_often_it_comes(counted: House) -> None:
    """By message, over HTTP under one key, by a schedule that stays due. Guard: `held.is_new` in births._count."""
    world, http = counted.world, counted.http()
    world.register(order())
    add(world, saga="place-order", input=INPUT)
    http.post("/definitions/place-order/suspend", json={})
    make_due(world)
    body, scheduling = start("place-order", INPUT), world.coordinator._scheduling

    for _ in range(3):
        world.send_start(body)
        http.post("/sagas", json={"name": "place-order", "input": INPUT, "key": "o-1"})
        scheduling._handed_over.clear()
        scheduling.turn()
    eventually(
        lambda: value(samples(http.get("/metrics").text), "amends_starts_held_total") >= 3,
        what="each of the three to have come",
    )
    eventually(lambda: len(world.coordinator._intake) == 0, what="what came again to be decided")
    http.post("/sagas", json={"name": "place-order", "input": INPUT, "key": "o-1"})

    assert value(samples(http.get("/metrics").text), "amends_starts_held_total", saga="place-order") == 3


def settled(text: str) -> Samples | None:
    """The samples, once nothing waits in the outbox."""
    scraped = samples(text)
    return scraped if value(scraped, "amends_outbox_pending") == 0 else None


@pytest.fixture
def make_order() -> Callable[[House], None]:
    """Runs three orders that complete, one that is amended, one that gets stuck, one that waits; and a bad start."""

    def payments(command: wire.Command) -> wire.Reply | None:
        kind = command.labels.get("kind")
        if kind == "waits":
            return None
        return reply(command, "payments", "refused" if kind in ("refused", "stuck") else "done")

    def inventory(command: wire.Command) -> wire.Reply:
        stuck = command.labels.get("kind") == "stuck" and command.op is wire.Op.UNDO
        return reply(command, "inventory", "refused" if stuck else "done")

    def run(house: House) -> None:
        house.world.register(order())
        house.world.participant("payments", payments)
        house.world.participant("inventory", inventory)
        kinds = ("done", "done", "done", "refused", "stuck", "waits")
        ids = {(number, kind): house.start_saga(labels={"kind": kind}) for number, kind in enumerate(kinds)}
        bad = house.http().post("/sagas", json={"name": "place-order", "input": {}})
        assert bad.status_code == 422
        for (_, kind), saga_id in ids.items():
            if kind == "stuck":
                house.stuck(saga_id)
            elif kind == "waits":
                house.world.participants["payments"].wait_for("do", "charge", count=6)
            else:
                house.ended(saga_id)

    return run


def test_gauges_are_read_from_the_database_not_remembered(house: House) -> None:
    with house.world.database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO amends.outbox (message_id, routing_key, type, body, owner, created_at, due_at)"
            " VALUES ('m', 'x', 'y', 'z', gen_random_uuid(), now() - interval '90 s', now() + interval '1 h')"
        )
        connection.exec_driver_sql(
            "INSERT INTO amends.breaker (queue, state, opened_at) VALUES ('mail.do', 'open', now())"
        )

    scraped = samples(house.http().get("/metrics").text)

    assert value(scraped, "amends_outbox_pending") >= 1
    assert 90 <= value(scraped, "amends_outbox_oldest_age_seconds") < 300
    assert value(scraped, "amends_breaker_open", queue="mail.do") == 1


def test_distinct_names_are_bounded() -> None:
    """Seen to fail without the comparison with the limit in `BoundedNames`."""
    names = BoundedNames(2)

    assert [names(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_counters_of_surplus_names_add_up_under_other() -> None:
    registry = new_registry()
    observer = PrometheusObserver(registry, names_max=2)

    for number in range(10):
        observer.saga_started(f"saga-{number}")
        observer.attempt(f"service-{number}", "do", "done", 0.1)
        observer.breaker(f"service-{number}.do", True)

    scraped = samples(exposition(registry).decode())
    assert value(scraped, "amends_sagas_started_total", saga=OTHER) == 8
    assert value(scraped, "amends_step_attempts_total", participant=OTHER) == 8
    assert value(scraped, "amends_breaker_changes_total", queue=OTHER, to="open") == 8
    assert value(scraped, "amends_sagas_started_total") == 10


def test_gauges_of_surplus_names_add_up_under_other() -> None:
    readings = GaugeReadings(
        live_sagas={(f"saga-{number}", status): 1 for number in range(10) for status in ("running", "stuck")},
        parked_steps={f"service-{number}.do": 2 for number in range(10)},
        breakers={},
        schedules=ScheduleReadings(0, 0, 0, 0.0),
        outbox=OutboxStats(0, 0.0, 0, 0),
    )
    registry = new_registry()
    registry.register(DatabaseGauges(lambda: readings, broker_up=lambda: False, names_max=3))

    scraped = samples(exposition(registry).decode())

    assert value(scraped, "amends_sagas_running", saga=OTHER, status="running") == 7
    assert value(scraped, "amends_sagas_stuck", saga=OTHER) == 7
    assert value(scraped, "amends_sagas_stuck") == 10
    assert value(scraped, "amends_steps_parked", queue=OTHER) == 14


def test_a_reading_of_an_empty_database_is_all_nought(coordinator_database: Engine) -> None:
    readings = read_gauges(coordinator_database)

    assert readings == GaugeReadings(
        live_sagas={},
        parked_steps={},
        breakers={},
        schedules=ScheduleReadings(0, 0, 0, 0.0),
        outbox=OutboxStats(0, 0.0, 0, 0),
    )
