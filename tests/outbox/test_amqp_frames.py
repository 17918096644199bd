"""The frames we write are read by py-amqp, and those it writes are read by us; nothing foreign raises."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import amqp
import pytest
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from amends.outbox.drivers import amqp_frames as frames
from amends.outbox.drivers.amqp_tables import DEPTH_MAX, read_table
from tests.outbox.driving import message


def _split(written: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while written:
        kind, channel, size = struct.unpack_from(">BHI", written)
        assert written[7 + size] == frames.FRAME_END
        found.append((kind, channel, written[7 : 7 + size]))
        written = written[8 + size :]
    return found


def _header(**properties: Any) -> bytes:
    """The content header py-amqp would send."""
    return struct.pack(">HHQ", 60, 0, 5) + amqp.Message("12345", **properties)._serialize_properties()


short = st.text(max_size=60)


@given(
    routing_key=short,
    exchange=short,
    correlation_id=st.none() | short,
    reply_to=st.none() | short,
    expiration_ms=st.none() | st.integers(0, 10**12),
    headers=st.dictionaries(short, short, max_size=4),
    body=st.binary(max_size=9_000),
)
def test_py_amqp_reads_what_we_publish(
    routing_key: str,
    exchange: str,
    correlation_id: str | None,
    reply_to: str | None,
    expiration_ms: int | None,
    headers: dict[str, str],
    body: bytes,
) -> None:
    sent = message(
        routing_key,
        body,
        exchange=exchange,
        correlation_id=correlation_id,
        reply_to=reply_to,
        expiration_ms=expiration_ms,
        headers=headers,
    )

    method, header, *bodies = _split(frames.publish_frames(3, sent, 1_700_000_000, 4_096))

    arguments, _ = amqp.serialization.loads("Bssbb", method[2], 4)
    assert arguments == [0, exchange, routing_key, not exchange, False]
    read = amqp.Message()
    read.inbound_header(header[2])
    expected = {
        "content_type": "application/json",
        "application_headers": headers or None,
        "delivery_mode": 2,
        "correlation_id": correlation_id,
        "reply_to": reply_to,
        "expiration": None if expiration_ms is None else str(min(expiration_ms, frames.EXPIRATION_MS_MAX)),
        "message_id": sent.message_id,
        "timestamp": 1_700_000_000,
        "type": sent.type,
    }
    assert read.properties == {name: value for name, value in expected.items() if value is not None}
    assert read.body_size == len(body)
    assert b"".join(chunk for _, _, chunk in bodies) == body
    assert all(len(chunk) <= 4_088 for _, _, chunk in bodies)
    assert {(kind, channel) for kind, channel, _ in bodies} <= {(frames.BODY, 3)}


@pytest.mark.parametrize(
    "bad",
    [
        {"routing_key": "r" * 256},
        {"exchange": "e" * 256},
        {"message_id": "m" * 256},
        {"correlation_id": "€" * 86},
        {"headers": {"h" * 256: ""}},
        {"headers": {"h": "v" * 5_000}},
    ],
)
def test_what_does_not_fit_into_a_frame_is_told_before_it_is_sent(bad: dict[str, Any]) -> None:
    with pytest.raises(frames.Unsendable):
        frames.publish_frames(1, message(**{"queue": "q", **bad}), 0, 4_096)


def test_all_properties_are_read() -> None:
    header = _header(
        content_type="application/json",
        content_encoding="gzip",
        application_headers={"a": "b"},
        delivery_mode=2,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="100",
        message_id="m",
        timestamp=2**63,
        type="t",
        user_id="guest",
        app_id="app",
    )

    size, properties = frames.read_header(header)

    assert size == 5
    assert properties == frames.Properties("application/json", "gzip", {"a": "b"}, "c", "r", "m", "t", "100")


def test_text_that_is_no_utf_8_does_not_raise() -> None:
    """py-amqp raises UnicodeDecodeError here, so its consumers break on such a message again and again."""
    _, properties = frames.read_header(_header(type=b"\xff\xfe", message_id=b"ok"))

    assert (properties.type, properties.message_id) == ("\ufffd\ufffd", "ok")


def test_a_nul_in_a_property_is_replaced_so_that_the_message_can_be_put_aside() -> None:
    """PostgreSQL stores none: a dead letter with one would come again for ever."""
    _, properties = frames.read_header(_header(type="a\0b", message_id="\0", correlation_id="c"))

    assert (properties.type, properties.message_id) == ("a\ufffdb", "\ufffd")


def test_headers_of_every_kind_are_read() -> None:
    values = {
        "text": "x",
        "truth": True,
        "small": 7,
        "large": 2**40,
        "float": 1.5,
        "decimal": Decimal("1.25"),
        "time": datetime(2023, 1, 2, tzinfo=UTC),
        "none": None,
        "table": {"inner": {"deep": 1}},
        "array": ["a", 1, {"b": False}],
    }

    table, _ = read_table(dumps("F", [values]), 0)

    assert table == {**values, "decimal": 1.25, "time": 1_672_617_600}


@pytest.mark.parametrize(
    "entry",
    [
        b"\x01tT" + b"\xff" * 8,  # a timestamp no datetime can hold
        b"\x01tS\x00\x00\x00\x02\xff\xff",  # a text that is no UTF-8
        b"\x02\xff\xffV",  # a name that is none
        b"\x01t?anything",  # a letter of nobody's
    ],
)
def test_odd_headers_do_not_raise(entry: bytes) -> None:
    table, end = read_table(struct.pack(">I", len(entry)) + entry + b"rest", 0)

    assert len(table) == 1
    assert end == 4 + len(entry)


def test_a_table_within_tables_without_end_is_left_empty() -> None:
    nested: dict[str, Any] = {}
    for _ in range(300):
        nested = {"n": nested}

    table, _ = read_table(dumps("F", [nested]), 0)

    depth = 0
    while table:
        table, depth = table["n"], depth + 1  # type: ignore[assignment]
    assert depth == DEPTH_MAX


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | short,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=8,
)


@given(headers=st.dictionaries(short, _values, min_size=1, max_size=4), priority=st.integers(0, 255))
def test_headers_of_any_json_are_read_as_they_were_written(headers: dict[str, Any], priority: int) -> None:
    """As Celery needs them: by py-amqp, and by ourselves."""
    beside = {"content-type": "a/b", "amends-content-encoding": "utf-8", "amends-priority": priority}
    sent = message("q", headers={**headers, **beside, "amends-mandatory": True}, exchange="named")
    (_, _, _), (_, _, header), *_ = _split(frames.publish_frames(1, sent, 1_700_000_000, 131_072))

    read = amqp.Message()
    read.inbound_header(header)

    assert read.headers == headers
    assert read.properties["priority"] == priority
    assert read.properties["content_encoding"] == "utf-8"
    assert read.properties["content_type"] == "a/b"
    assert frames.read_header(header)[1].headers == headers
    assert sent.mandatory
    assert not message("q", exchange="named").mandatory


@pytest.mark.parametrize("value", [2**63, {"x" * 256: 1}, object(), [object()]])
def test_a_header_that_amqp_cannot_hold_is_its_message_s_own_fault(value: object) -> None:
    """The publisher takes a TypeError for that: the row is parked, and nothing else is held up (O4)."""
    with pytest.raises(TypeError):
        frames.publish_frames(1, message("q", headers={"x": value}), 1_700_000_000, 131_072)
