"""W3C Trace Context as it is carried: two headers of a message, and one text where it is kept.

The text is the traceparent and, if there is one, a space and the tracestate. Nothing here needs OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from amends.outbox.spelling import is_traceparent
from amends.outbox.wire import HEADER_TRACEPARENT, HEADER_TRACESTATE

TRACEPARENT_CHARS_MAX: Final = 256
TRACESTATE_CHARS_MAX: Final = (
    512  # What the standard wants to be passed on at least; a longer one is dropped whole.
)


def trace_of(headers: Mapping[str, object]) -> str:
    """The trace that these headers carry; empty if they carry none. A tracestate without its traceparent is nothing."""
    parent = headers.get(HEADER_TRACEPARENT)
    if not isinstance(parent, str) or not parent or len(parent) > TRACEPARENT_CHARS_MAX or " " in parent:
        return ""
    return joined(parent, headers.get(HEADER_TRACESTATE))


def joined(traceparent: str, tracestate: object) -> str:
    """The text of both; a tracestate that cannot be one is left out."""
    if isinstance(tracestate, str) and 0 < len(tracestate) <= TRACESTATE_CHARS_MAX:
        state = tracestate.strip(" ")
        if state.isascii() and state.isprintable() and state:
            return f"{traceparent} {state}"
    return traceparent


def parted(trace: str) -> tuple[str, str]:
    """Its traceparent and its tracestate; either may be empty."""
    parent, _, state = trace.partition(" ")
    return parent, state


def carrying(trace: str) -> dict[str, str]:
    """The headers that carry it on; none for none."""
    if not trace:
        return {}
    parent, state = parted(trace)
    if not state:
        return {HEADER_TRACEPARENT: parent}
    return {HEADER_TRACEPARENT: parent, HEADER_TRACESTATE: state}


def said(traceparent: str | None, tracestate: str | None) -> str:
    """The trace that an HTTP request brings. One that is malformed begins a new trace, as the standard has it."""
    return joined(traceparent, tracestate) if traceparent is not None and is_traceparent(traceparent) else ""
