"""Domain events belong to the trace of whoever emitted them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from amends.outbox.ports import Broker, event_queue
from amends.participants import EventCtx, Participant
from tests.events.world import World
from tests.participants.shop import Effect, count, metadata
from tests.tracing.conftest import Spans
from tests.waiting import eventually


@pytest.fixture
def hearing(participant_database: Engine, broker: Broker, prefix: str) -> Iterator[World]:
    """A service that emits and hears."""
    metadata.create_all(participant_database)
    made = World(participant_database, broker, prefix)
    yield made
    made.close()


def test_an_event_is_heard_in_its_emitters_trace_by_each_subscriber(spans: Spans, hearing: World) -> None:
    mail = Participant("mail")
    seen: list[str] = []

    @mail.on("user.created")
    async def welcome(_user: Any, ctx: EventCtx) -> None:
        ctx.asession.add(Effect(kind="welcome", saga=ctx.id))
        seen.append(ctx.traceparent)
        with spans.tracer.start_as_current_span("inside"):
            pass

    hearing.start(mail)
    with spans.tracer.start_as_current_span("POST /users") as request:
        hearing.emit("user.created", {"id": 7})
    eventually(lambda: count(hearing.engine, "welcome") == 1)

    queue = event_queue(hearing.prefix, "mail", "welcome")
    work = spans.await_named(f"process {queue}")[0]
    assert work.context is not None
    assert work.context.trace_id == request.get_span_context().trace_id
    assert spans.parent(work) == f"create {hearing.prefix}.events:user.created"
    assert spans.parent(spans.named("inside")[0]) == work.name
    # What follows are its flags.
    named = f"00-{work.context.trace_id:032x}-{work.context.span_id:016x}"
    assert [one.rpartition("-")[0] for one in seen] == [named]
