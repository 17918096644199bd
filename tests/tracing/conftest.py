"""Spans that are kept in memory, and a service with its coordinator on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id
from sqlalchemy import Engine

from amends.coordinator import Saga, arg, chain, step
from amends.outbox.ports import Broker
from amends.outbox.tracing import start_tracing, stop_tracing
from amends.participants import Ctx, Participant, Refused
from tests.engine.world import World
from tests.waiting import eventually


class Spans:
    """What was exported, and the provider that exports there."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def all(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """All of this name."""
        return [span for span in self.all if span.name == name]

    def await_named(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """As `named`, once there are so many."""
        eventually(
            lambda: len(self.named(name)) >= count,
            what=f"{count} spans {name!r}: {[s.name for s in self.all]}",
        )
        return self.named(name)

    def parent(self, span: ReadableSpan) -> str:
        """The name of a span's parent; of one that is not here its id, of none an empty text."""
        if span.parent is None:
            return ""
        for other in self.all:
            if other.context is not None and other.context.span_id == span.parent.span_id:
                return other.name
        return format_span_id(span.parent.span_id)

    def traces(self) -> set[int]:
        """Which traces there are."""
        return {span.context.trace_id for span in self.all if span.context is not None}


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Tracing is on during the test."""
    kept = Spans()
    start_tracing(kept.provider)
    yield kept
    stop_tracing()
    kept.provider.shutdown()


def shop() -> Participant:
    """Reserves, charges, and ships; a card `declined` is refused, and one of `broken` fails at first."""
    participant = Participant("shop")
    tried: list[str] = []

    @participant.command
    async def reserve(cmd: str, ctx: Ctx) -> str:
        assert ctx.traceparent
        return ctx.traceparent

    @reserve.undo
    def release(_cmd: str, _reserved: str, _ctx: Ctx) -> None: ...

    @participant.command
    def charge(cmd: str, ctx: Ctx) -> str:
        if cmd == "declined":
            raise Refused("declined")
        if cmd == "broken" and ctx.saga not in tried:
            tried.append(ctx.saga)
            raise ConnectionError("down")
        return ctx.tracestate

    @charge.undo
    def refund(_cmd: str, _charged: str, _ctx: Ctx) -> None: ...

    return participant


place_order = Saga(
    "place-order",
    chain(
        step("reserve", to="shop", undo="release", args=arg.card),
        step("charge", to="shop", undo="refund", args=arg.card),
    ),
    version=1,
)


@pytest.fixture
def world(coordinator_database: Engine, broker: Broker, prefix: str) -> Iterator[World]:
    """A coordinator that knows the saga."""
    running = World(coordinator_database, broker, prefix).start()
    running.register(place_order)
    yield running
    running.close()


@pytest.fixture
def working(participant_database: Engine, broker: Broker, prefix: str) -> Iterator[None]:
    """The participant's worker."""
    worker = shop().worker(database=participant_database, broker=broker, prefix=prefix, grace_s=5)
    worker.start()
    yield
    worker.stop()
