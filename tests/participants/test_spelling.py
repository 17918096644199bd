"""What the coordinator would turn away is refused where it is put, before anything is stored."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from amends.coordinator.engine.signalling import signal_of
from amends.outbox.errors import MalformedMessage
from amends.outbox.spelling import INPUT_DEPTH_MAX, PAYLOAD_DEPTH_MAX, is_traceparent
from amends.participants.errors import InvalidInput
from amends.participants.signals import make_signal
from amends.participants.starts import make_start


def nested(depth: int) -> Any:
    """Lists in lists, so deep."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return value


PAYLOADS = {
    "a zero byte": {"note": "a\x00b"},
    "a zero byte in a key": {"a\x00b": 1},
    "an integer of more than 64 bits": {"n": 2**63},
    "too deep": nested(PAYLOAD_DEPTH_MAX + 1),
    "too many values": [1] * 30_000 + [2] * 20_000,
    "raw text that is no JSON": msgspec.Raw(b"{"),
    "a name": ("app roved", 1),
    "an id": ("approved", 1, "\x07"),
}


@pytest.mark.parametrize("what", PAYLOADS)
def test_a_signal_that_the_coordinator_cannot_read_is_not_put(what: str) -> None:
    """S1. Guard: `payload_problem` in make_signal. Without it the signal commits, is dead-lettered and receipted."""
    case = PAYLOADS[what]
    name, payload, id_ = (*case, None)[:3] if isinstance(case, tuple) else ("approved", case, None)

    with pytest.raises(InvalidInput):
        make_signal(str(uuid4()), name, payload, id_)
    with pytest.raises(MalformedMessage):
        signal_of(name, id_ or "m", msgspec.json.encode(payload))


@pytest.mark.parametrize("payload", [{"n": 2**63 - 1}, nested(PAYLOAD_DEPTH_MAX), "é", None, -(2**62)])
def test_what_is_put_is_read(payload: Any) -> None:
    signal = make_signal(str(uuid4()), "approved/3", payload, "m-1")

    assert signal_of(signal.name, signal.id, bytes(signal.payload)).payload == payload


def test_an_input_that_no_saga_may_have_is_not_put() -> None:
    """S2. Guard: `input_problem` in starts._checked_input. Without it the start commits, and is rejected later."""
    make_start("pay", nested(INPUT_DEPTH_MAX), None, None)

    with pytest.raises(InvalidInput, match="nested deeper than 64"):
        make_start("pay", nested(INPUT_DEPTH_MAX + 1), None, None)


def test_a_trace_context_of_a_later_version_is_one() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"

    assert is_traceparent(trace)
    assert is_traceparent(trace + "-more")
    assert not is_traceparent(trace + "\n")
    assert not is_traceparent(trace.upper())
