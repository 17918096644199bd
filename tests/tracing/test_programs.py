"""AMENDS_TRACING in a program of amends, as an operator sets it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import Engine

from amends.outbox.ports import Broker
from amends.outbox.wire import Outcome
from tests.participants.coordinator import FakeCoordinator, command
from tests.participants.shop import metadata
from tests.servers.rabbit import RabbitServer

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("tracing", ["off", "opentelemetry"])
def test_a_participant_answers_as_its_own_span_if_it_traces_and_as_it_was_asked_if_not(
    participant_database: Engine, rabbit: RabbitServer, broker: Broker, prefix: str, tracing: str
) -> None:
    metadata.create_all(participant_database)
    coordinator = FakeCoordinator(broker, prefix, "counter")
    program = subprocess.Popen(
        [sys.executable, "-m", "amends.db.cli", "participant", "tests.participants.programs:counter"],
        env={
            **os.environ,
            "AMENDS_DATABASE_URL": participant_database.url.render_as_string(hide_password=False),
            "AMENDS_BROKER_URL": rabbit.url,
            "AMENDS_PREFIX": prefix,
            "AMENDS_TRACING": tracing,
            # As `opentelemetry-instrument` chooses it: the global provider is the SDK's.
            "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        sent = coordinator.send(command("count_up", 0), headers={"traceparent": PARENT, "tracestate": "a=1"})
        assert coordinator.await_reply(lambda one: one.saga == sent.saga).outcome is Outcome.DONE
    finally:
        program.terminate()
        program.wait()
        coordinator.close()

    headers = coordinator.reply_deliveries[-1].headers
    _, trace, span, _ = str(headers["traceparent"]).split("-")
    assert (trace, headers["tracestate"]) == (PARENT.split("-")[1], "a=1")
    assert (span == PARENT.split("-")[2]) is (tracing == "off")
