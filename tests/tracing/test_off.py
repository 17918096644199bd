"""Without tracing: nothing is imported, nothing is called, and what a start brings is carried all the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, select

from amends.db.config import Environment
from amends.db.engines import transaction
from amends.db.errors import InvalidSetting, MissingExtra
from amends.db.tables.participant import outbox
from amends.outbox import put
from amends.outbox.config import wants_tracing
from amends.outbox.message import Message
from amends.outbox.traces import TRACESTATE_CHARS_MAX, carrying, joined, parted, trace_of
from amends.outbox.tracing import start_tracing, switch
from amends.participants import Client
from tests.engine.world import World
from tests.tracing.conftest import place_order, shop
from tests.waiting import eventually

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"


def test_nothing_of_opentelemetry_is_imported() -> None:
    modules = (
        "amends.outbox.relay, amends.outbox.sender, amends.outbox.tracing, amends.participants.worker.worker, "
        "amends.participants.client, amends.participants.asyncio, amends.coordinator.engine.coordinator"
    )
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, {modules}\nprint([n for n in sys.modules if 'opentelemetry' in n])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert seen.stdout.strip() == "[]"


def test_it_costs_no_call_and_no_header(world: World, participant_database: Engine, prefix: str) -> None:
    """Counted: of everything that is called during a saga's whole trip nothing is tracing's."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            name = str(frame.f_globals.get("__name__", ""))
            if name.startswith("amends."):
                calls[name] += 1

    client = Client("shop", prefix=prefix)
    threading.setprofile_all_threads(count) if sys.version_info >= (3, 12) else threading.setprofile(count)
    sys.setprofile(count)
    try:
        # Threads that began before a profile was set have none in Python 3.11: these begin now.
        other = World(world.database, world.broker, prefix).start()
        worker = shop().worker(database=participant_database, broker=world.broker, prefix=prefix)
        worker.start()
        with transaction(participant_database) as connection:
            saga = client.start(connection, place_order, {"card": "visa"}, traceparent=PARENT)
            stored = connection.scalars(select(outbox.c.headers).where(outbox.c.correlation_id == saga)).all()
        world.wait_for(saga, "completed")
        worker.stop()
        other.close()
    finally:
        sys.setprofile(None)
        threading.setprofile_all_threads(None) if sys.version_info >= (3, 12) else threading.setprofile(None)

    for name in ("putting", "flight", "sweep"):
        assert calls[f"amends.outbox.{name}"] > 0
    assert calls["amends.participants.worker.execution"] > 0
    assert calls["amends.coordinator.engine.consuming"] > 0
    assert [name for name in calls if name in ("amends.outbox.tracing", "amends.outbox.spans")] == []
    assert [msgspec.json.decode(headers) for headers in stored] == [{"traceparent": PARENT}]


@pytest.mark.usefixtures("working")
def test_a_trace_and_its_state_are_carried_over_every_step(
    world: World, participant_database: Engine, prefix: str
) -> None:
    """The last step answers with the tracestate that its command brought."""
    client = Client("shop", prefix=prefix)
    with transaction(participant_database) as connection:
        saga = client.start(connection, place_order, {"card": "visa"}, traceparent=PARENT)
        given = {"traceparent": PARENT, "tracestate": STATE}
        update = outbox.update().where(outbox.c.correlation_id == saga)
        connection.execute(update.values(headers=msgspec.json.encode(given).decode()))

    world.wait_for(saga, "completed")

    assert world.state(saga).trace == f"{PARENT} {STATE}"
    eventually(lambda: world.state(saga).steps["charge"].result == STATE, what="the tracestate")
    assert world.state(saga).steps["reserve"].result == PARENT


def test_an_event_and_a_message_put_in_a_row_keep_their_headers(participant_database: Engine) -> None:
    message = Message(routing_key="q", type="t", body=b"", headers=carrying(f"{PARENT} {STATE}"))
    with transaction(participant_database) as connection:
        row = put(connection, message)
        stored = connection.scalar(select(outbox.c.headers).where(outbox.c.id == row))

    assert msgspec.json.decode(str(stored)) == {"traceparent": PARENT, "tracestate": STATE}


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({}, ""),
        ({"traceparent": PARENT}, PARENT),
        ({"traceparent": PARENT, "tracestate": STATE}, f"{PARENT} {STATE}"),
        ({"traceparent": PARENT, "tracestate": ""}, PARENT),
        ({"traceparent": PARENT, "tracestate": "x" * (TRACESTATE_CHARS_MAX + 1)}, PARENT),
        ({"traceparent": PARENT, "tracestate": "a=1\r\nb"}, PARENT),
        ({"traceparent": PARENT, "tracestate": 7}, PARENT),
        ({"tracestate": STATE}, ""),
        ({"traceparent": 7}, ""),
        ({"traceparent": "a b"}, ""),
        ({"traceparent": "x" * 300}, ""),
    ],
)
def test_what_can_be_no_trace_is_none(headers: dict[str, object], trace: str) -> None:
    assert trace_of(headers) == trace
    assert trace_of(carrying(trace)) == trace
    assert joined(*parted(trace)) == trace


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "amends.outbox.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtra, match=r"pip install 'amends\[opentelemetry\]'"):
        start_tracing()

    assert switch.tracing is None


def test_a_program_traces_if_its_environment_says_so() -> None:
    assert not wants_tracing(Environment({}))
    assert wants_tracing(Environment({"AMENDS_TRACING": "opentelemetry"}))
    with pytest.raises(InvalidSetting, match="AMENDS_TRACING"):
        wants_tracing(Environment({"AMENDS_TRACING": "jaeger"}))
