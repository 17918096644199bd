"""Tracing by OpenTelemetry's API, in the words of its semantic conventions for messaging.

    create QUEUE   producer   a message was put into an outbox; what its headers then name
    send QUEUE     client     from publishing to the broker's confirm
    process QUEUE  consumer   from delivery until it is durably dealt with

The one module that imports OpenTelemetry: only `amends.outbox.tracing` imports it, when tracing is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from amends.outbox.message import Message
from amends.outbox.ports import Delivery
from amends.outbox.traces import carrying, trace_of
from amends.outbox.wire import HEADER_TRACEPARENT, HEADER_TRACESTATE

_ROOT: Final = Context()
_PROPAGATOR: Final = TraceContextTextMapPropagator()

Attributes = dict[str, str | int]


class Spans:
    """`amends.outbox.tracing.Tracing`."""

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("amends", tracer_provider=tracer_provider)

    def headers(self) -> dict[str, str]:
        """Of the current span."""
        return _headers(None)

    def begun(self, name: str, attributes: Attributes) -> str:
        """A span without a parent, ended at once."""
        span = self._tracer.start_span(name, _ROOT, attributes=attributes)
        span.end()
        return trace_of(_headers(trace.set_span_in_context(span, _ROOT)))

    def created(self, message: Message) -> Message:
        """A producer span, begun and ended here: what was put leaves with its transaction, perhaps much later."""
        parent = _parent(message.headers)
        span = self._tracer.start_span(
            f"create {_destination(message)}", parent, SpanKind.PRODUCER, _of_message("create", message)
        )
        span.end()
        carried = _headers(trace.set_span_in_context(span, _ROOT))
        others = {
            name: value
            for name, value in message.headers.items()
            if name not in (HEADER_TRACEPARENT, HEADER_TRACESTATE)
        }
        return replace(message, headers={**others, **carried}) if carried else message

    def sent(self, message: Message, since: float, problem: str = "") -> None:
        """A client span, if the message belongs to a trace."""
        parent = _parent(message.headers)
        if parent is None:
            return
        now = time.time_ns()
        began = now - max(0, int((time.monotonic() - since) * 1e9))
        span = self._tracer.start_span(
            f"send {_destination(message)}",
            parent,
            SpanKind.CLIENT,
            _of_message("send", message),
            start_time=began,
        )
        if problem:
            span.set_attribute("error.type", problem)
            span.set_status(Status(StatusCode.ERROR, problem))
        span.end(now)

    def work(self, delivery: Delivery, **attributes: str | int) -> SpanWork:
        """A consumer span; of a message without a trace it is the first of one."""
        given: Attributes = {
            **_attributes("process", delivery.queue, delivery.message_id, delivery.correlation_id),
            "messaging.message.body.size": len(delivery.body),
            **{name: value for name, value in attributes.items() if value != ""},
        }
        parent = _parent(delivery.headers) or _ROOT
        return SpanWork(
            self._tracer.start_span(f"process {delivery.queue}", parent, SpanKind.CONSUMER, given),
            trace_of(delivery.headers),
        )


class SpanWork:
    """`amends.outbox.tracing.Work`: one consumer span."""

    def __init__(self, span: Span, came_with: str) -> None:
        self._span = span
        # Of a tracer that does nothing: what came is passed on.
        self._trace = trace_of(_headers(trace.set_span_in_context(span, _ROOT))) or came_with
        self._ended = False

    @property
    def trace(self) -> str:
        """This span as a parent."""
        return self._trace

    def current(self) -> AbstractContextManager[object]:
        """OpenTelemetry's own current span."""
        return trace.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def told(self, outcome: str, *, is_error: bool = False) -> None:
        """As an attribute; an error as the span's status too."""
        self._span.set_attribute("amends.outcome", outcome)
        if is_error:
            self._span.set_status(Status(StatusCode.ERROR, outcome))

    def end(self) -> None:
        """End the span, once."""
        if not self._ended:
            self._ended = True
            self._span.end()


def _parent(headers: Mapping[str, object]) -> Context | None:
    """The context that headers name; None if they name none: then the current one counts."""
    came_with = trace_of(headers)
    if not came_with:
        return None
    context = _PROPAGATOR.extract(carrying(came_with), _ROOT)
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def _headers(context: Context | None) -> dict[str, str]:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return carrier


def _destination(message: Message) -> str:
    return f"{message.exchange}:{message.routing_key}" if message.exchange else message.routing_key


def _of_message(operation: str, message: Message) -> Attributes:
    told = _attributes(operation, _destination(message), message.message_id, message.correlation_id or "")
    return {
        **told,
        "messaging.rabbitmq.destination.routing_key": message.routing_key,
        "messaging.message.body.size": len(message.body),
        "amends.message.type": message.type,
    }


def _attributes(operation: str, destination: str, message_id: str, conversation: str) -> Attributes:
    told: Attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
        "messaging.message.id": message_id,
        "messaging.message.conversation_id": conversation,
    }
    return {name: value for name, value in told.items() if value}
