"""One trace from the client through every step of a saga and back, on real servers."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.outbox import put
from amends.outbox.message import Message
from amends.outbox.tracing import start_tracing
from amends.participants import Client
from tests.engine.world import World
from tests.tracing.conftest import Spans, place_order

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def start(database: Engine, prefix: str, card: str, **fields: str) -> str:
    """Start an order in a transaction of the service's."""
    client = Client("shop", prefix=prefix)
    with transaction(database) as connection:
        return client.start(connection, place_order, {"card": card}, **fields)


@pytest.mark.usefixtures("working")
def test_a_saga_that_turns_back_is_one_trace_with_its_parents_right(
    spans: Spans, world: World, participant_database: Engine, prefix: str
) -> None:
    """Seen to fail without `created` in `_post`, without the work's trace on replies, and without it on starts."""
    with spans.tracer.start_as_current_span("POST /orders"):
        saga = start(participant_database, prefix, "declined")
    world.wait_for(saga, "compensated")
    queue, do, undo = f"{prefix}.coordinator", f"{prefix}.shop.do", f"{prefix}.shop.undo"
    spans.await_named(f"process {queue}", 4)
    spans.await_named(f"send {queue}", 4)
    spans.await_named(f"process {do}", 2)

    assert len(spans.traces()) == 1
    links = sorted((span.name, spans.parent(span)) for span in spans.all)
    assert links == sorted(
        [
            ("POST /orders", ""),
            (f"create {queue}", "POST /orders"),
            (f"send {queue}", f"create {queue}"),
            (f"process {queue}", f"create {queue}"),
            # Each command is a child of what the coordinator did with the start, each reply of its command's work.
            *[(f"create {do}", f"process {queue}")] * 2,
            *[(f"send {do}", f"create {do}")] * 2,
            *[(f"process {do}", f"create {do}")] * 2,
            *[(f"send {queue}", f"process {do}")] * 2,
            *[(f"process {queue}", f"process {do}")] * 2,
            (f"create {undo}", f"process {queue}"),
            (f"send {undo}", f"create {undo}"),
            (f"process {undo}", f"create {undo}"),
            (f"send {queue}", f"process {undo}"),
            (f"process {queue}", f"process {undo}"),
        ]
    )
    begun = next(span for span in spans.named(f"process {queue}") if spans.parent(span) == f"create {queue}")
    assert begun.context is not None
    of_start = {
        span.parent.span_id
        for span in (*spans.named(f"create {do}"), *spans.named(f"create {undo}"))
        if span.parent is not None
    }
    assert of_start == {begun.context.span_id}


@pytest.mark.usefixtures("working")
def test_spans_speak_the_words_of_the_conventions(
    spans: Spans, world: World, participant_database: Engine, prefix: str
) -> None:
    saga = start(participant_database, prefix, "broken")
    world.wait_for(saga, "completed")
    do = f"{prefix}.shop.do"

    works = spans.await_named(f"process {do}", 3)
    told = [dict(span.attributes or {}) for span in works]
    assert [(one["amends.command"], one["amends.outcome"], one["amends.attempt"]) for one in told] == [
        ("reserve", "done", 1),
        ("charge", "failed", 1),
        ("charge", "done", 2),
    ]
    assert [span.status.status_code for span in works] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert {span.kind for span in works} == {SpanKind.CONSUMER}
    wanted = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": do,
        "messaging.message.conversation_id": saga,
        "amends.saga": saga,
        "amends.saga.name": "place-order",
        "amends.participant": "shop",
        "amends.path": "reserve",
        "amends.op": "do",
    }
    assert {name: told[0].get(name) for name in wanted} == wanted
    created = spans.named(f"create {do}")[0]
    assert (created.kind, created.attributes and created.attributes["messaging.message.id"]) == (
        SpanKind.PRODUCER,
        told[0]["messaging.message.id"],
    )
    sent = spans.await_named(f"send {do}", 3)[0]
    assert sent.kind is SpanKind.CLIENT
    assert sent.start_time is not None
    assert sent.end_time is not None
    assert 0 < sent.end_time - sent.start_time < 60e9


def test_what_a_handler_traces_itself_is_a_child_of_its_command(
    spans: Spans, world: World, participant_database: Engine, prefix: str
) -> None:
    """Plain and async, alone and in a batch; a saga that it starts belongs to the trace too."""
    from amends.participants import Ctx, Participant

    participant = Participant("shop")
    client = Client("shop", prefix=prefix)

    @participant.command
    async def reserve(_cmd: str, ctx: Ctx) -> None:
        with spans.tracer.start_as_current_span("async inside"):
            client.start(ctx.connection, "unheard-of", {}, key=ctx.saga)

    @participant.command
    def charge(_cmd: str, _ctx: Ctx) -> None:
        with spans.tracer.start_as_current_span("plain inside"):
            pass

    worker = participant.worker(
        database=participant_database, broker=world.broker, prefix=prefix, batch=8, threads=1
    )
    sagas = [start(participant_database, prefix, "visa", key=str(number)) for number in range(12)]
    worker.start()
    try:
        for saga in sagas:
            world.wait_for(saga, "completed")
    finally:
        worker.stop()

    for name in ("async inside", "plain inside"):
        assert {spans.parent(span) for span in spans.await_named(name, 12)} == {f"process {prefix}.shop.do"}
    begun = [
        span for span in spans.named(f"create {prefix}.coordinator") if spans.parent(span) == "async inside"
    ]
    assert len(begun) == 12
    assert len(spans.traces()) == 12


def test_a_message_that_no_queue_takes_is_an_error_of_its_sending(
    spans: Spans, participant_database: Engine, prefix: str, working: None
) -> None:
    nowhere = Message(routing_key=f"{prefix}.nowhere", type="note", body=b"{}")
    with transaction(participant_database) as connection:
        put(connection, nowhere)

    span = spans.await_named(f"send {prefix}.nowhere")[0]

    assert (span.status.status_code, span.attributes and span.attributes["error.type"]) == (
        StatusCode.ERROR,
        "returned",
    )
    assert spans.parent(span) == f"create {prefix}.nowhere"


@pytest.mark.usefixtures("working")
def test_a_trace_that_is_not_sampled_is_carried_on_and_exports_nothing(
    spans: Spans, world: World, participant_database: Engine, prefix: str
) -> None:
    start_tracing(TracerProvider(sampler=ALWAYS_OFF))

    saga = start(participant_database, prefix, "visa", traceparent=PARENT[:-2] + "00")
    world.wait_for(saga, "completed")

    assert spans.all == []
    assert world.state(saga).trace.startswith(PARENT[:35])


@pytest.mark.usefixtures("working")
def test_without_an_sdk_what_came_is_passed_on_as_it_is(
    world: World, participant_database: Engine, prefix: str
) -> None:
    """OpenTelemetry's API alone: its tracers make no spans."""
    from opentelemetry.trace import NoOpTracerProvider

    from amends.outbox.tracing import stop_tracing

    start_tracing(NoOpTracerProvider())
    try:
        saga = start(participant_database, prefix, "visa", traceparent=PARENT)
        world.wait_for(saga, "completed")
    finally:
        stop_tracing()

    assert world.state(saga).trace == PARENT
