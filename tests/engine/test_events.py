"""Domain events: CloudEvents on the topic exchange, at least once, under one id for every copy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from amends.coordinator import Saga, arg, chain, emit, result, retry, step
from amends.coordinator.saga.events import Retry
from amends.db.private_postgres import free_port
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.ports import Broker
from tests.engine.scripted import reply
from tests.engine.subscriber import Subscriber
from tests.engine.world import World, start
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

ORDER = Saga(
    "events-order",
    chain(
        step("reserve", to="stock", undo="release"),
        emit("order.reserved", {"shelf": result("reserve").shelf}, undo="order.released"),
        step("charge", to="payments", undo=None),
        emit("order.placed", {"sku": arg.sku}, undo=None),
    ),
    version=1,
)


@pytest.fixture
def subscriber(rabbit: RabbitServer, prefix: str) -> Iterator[Subscriber]:
    one = Subscriber(rabbit.url, prefix)
    yield one
    one.close()


@pytest.fixture
def world(make_world: Callable[..., World], broker: Broker, prefix: str) -> World:
    """One coordinator on RabbitMQ."""
    return make_world(broker, prefix).start()


def test_a_saga_tells_the_world_what_happened(world: World, subscriber: Subscriber) -> None:
    world.participant("stock", lambda command: reply(command, "stock", result={"shelf": 7}))
    world.participant("payments")
    world.register(ORDER)

    saga = world.start_saga("events-order", {"sku": "tea"}).saga_id
    reserved, placed = subscriber.wait_for(2)

    assert reserved["specversion"] == "1.0"
    assert (reserved["type"], reserved["data"]) == ("order.reserved", {"shelf": 7})
    assert (placed["type"], placed["data"]) == ("order.placed", {"sku": "tea"})
    assert (reserved["subject"], reserved["saganame"], reserved["sagapath"]) == (
        saga,
        "events-order",
        "order.reserved",
    )
    assert reserved["source"] == f"/{world.prefix}/sagas/events-order"
    assert reserved["id"] == wire.event_id_of(saga, "order.reserved", "do")
    assert reserved["datacontenttype"] == "application/json"
    assert datetime.fromisoformat(reserved["time"]).tzinfo is not None
    delivery = subscriber.deliveries[0]
    assert (delivery.content_type, delivery.message_id) == ("application/cloudevents+json", reserved["id"])
    assert (delivery.type, delivery.correlation_id) == ("order.reserved", saga)


def test_a_saga_that_turns_back_says_so_with_what_it_had_said(world: World, subscriber: Subscriber) -> None:
    world.participant("stock", lambda command: reply(command, "stock", result={"shelf": 7}))
    world.participant("payments", lambda command: reply(command, "payments", "refused", reason="no"))
    world.register(ORDER)

    saga = world.start_saga("events-order", {"sku": "tea"}).saga_id
    reserved, released = subscriber.wait_for(2)

    world.wait_for(saga, "compensated")
    assert (released["type"], released["data"]) == ("order.released", {"shelf": 7})
    assert (reserved["sagaop"], released["sagaop"]) == ("do", "undo")
    assert released["id"] == wire.event_id_of(saga, "order.reserved", "undo")
    assert world.replayed(saga) == world.state(saga)


def test_an_event_without_a_subscriber_is_dealt_with(world: World) -> None:
    """O4: nothing is parked, nothing waits. Guard: `Message.mandatory`; without it the rows stay, as returned."""
    world.participant("stock", lambda command: reply(command, "stock", result={"shelf": 7}))
    world.participant("payments")
    world.register(ORDER)

    saga = world.start_saga("events-order", {"sku": "tea"}).saga_id

    world.wait_for(saga, "completed")
    eventually(lambda: world.value("SELECT count(*) FROM amends.outbox") == 0, 5, what="the outbox to drain")


def test_each_time_a_saga_gets_stuck_is_an_event_of_its_own(world: World, subscriber: Subscriber) -> None:
    """Guard: the `seq` in posting.event; without it the second is taken for a copy of the first."""
    world.participant("mail", lambda command: reply(command, "mail", "refused", reason="no such address"))
    world.participant("stock", lambda command: reply(command, "stock", "refused", reason="gone"))
    policy = retry(limit=0)
    world.register(
        Saga(
            "events-stuck",
            chain(
                step("letter", to="mail", undo="revoke", undo_retry=policy),
                step("post", to="stock", undo=None),
            ),
            version=1,
            on_stuck="letter.stuck",
        )
    )
    world.participants["mail"].script = lambda command: reply(
        command, "mail", "done" if command.op == "do" else "refused", reason="posted already"
    )

    saga = world.start_saga("events-stuck", {}).saga_id
    (first,) = subscriber.wait_for(1)
    world.act(saga, Retry(actor="op", reason="again"))
    _, second = subscriber.wait_for(2)

    assert first["type"] == "letter.stuck"
    assert first["data"]["saga"] == saga
    assert "posted already" in second["data"]["reason"]


def test_an_event_that_is_too_large_goes_out_without_its_data(
    make_world: Callable[..., World], broker: Broker, prefix: str, subscriber: Subscriber
) -> None:
    """O5. Guard: `bytes_max` in posting.event; without it the batch fails, and the start is quarantined."""
    world = make_world(broker, prefix, body_bytes_max=2_000).start()
    world.register(Saga("events-large", chain(emit("page.written", arg.text, undo=None)), version=1))

    saga = world.start_saga("events-large", {"text": "x" * 3_000}).saga_id
    (written,) = subscriber.wait_for(1)

    world.wait_for(saga, "completed")
    assert "data" not in written
    assert "over the limit of 2,000" in written["datamissing"]


DEATHS = (
    "coordinator.commit.before",
    "coordinator.commit.after",
    "coordinator.publish.after",
    "coordinator.confirm.after",
)
SAGAS = """
from amends.coordinator import Saga, arg, chain, emit
tick = Saga("events-tick", chain(emit("clock.ticked", arg.tick, undo=None)), version=1)
"""


@pytest.mark.timeout(400)
def test_a_killed_coordinator_loses_no_event(
    coordinator_database: Engine, rabbit: RabbitServer, prefix: str, subscriber: Subscriber, tmp_path: Path
) -> None:
    """O1: at least once, whichever moment it dies at. Guard: `store.insert` of the events in writing._post."""
    (tmp_path / "ticking.py").write_text(SAGAS)
    others = World(coordinator_database, open_broker(rabbit.url), prefix)
    sagas = []
    try:
        for point in DEATHS:
            body = start("events-tick", {"tick": len(sagas)})
            sagas.append(body.saga)
            process = _coordinator(coordinator_database, rabbit, prefix, tmp_path, AMENDS_CRASH_AT=point)
            others.send_start(body)
            assert process.wait(90) == -signal.SIGKILL, point
        last = _coordinator(coordinator_database, rabbit, prefix, tmp_path)
        try:
            events = subscriber.wait_for(len(sagas), 90)
            eventually(others.drained, 30, what="the outbox to drain")
        finally:
            last.terminate()
            last.wait(60)
    finally:
        others._anybody.stop()
    assert {event["subject"] for event in events} == set(sagas)
    assert len(events) == len(sagas)


def _coordinator(
    database: Engine, rabbit: RabbitServer, prefix: str, directory: Path, **variables: Any
) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    environment = {
        **inherited,
        "AMENDS_DATABASE_URL": database.url.render_as_string(hide_password=False),
        "AMENDS_BROKER_URL": rabbit.url,
        "AMENDS_PREFIX": prefix,
        **variables,
    }
    command = [sys.executable, "-m", "amends.db.cli", "coordinator", "--apply", "ticking:tick"]
    with (directory / f"{uuid4().hex}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--port", str(free_port())], env=environment, cwd=directory, stdout=log, stderr=log
        )
