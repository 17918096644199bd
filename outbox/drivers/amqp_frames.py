"""The AMQP 0-9-1 frames of the hot path, written and read by hand: publish, ack, reject, and what comes back.

py-amqp does the rest of the protocol. Its own way through these frames costs three to eight times the CPU, and
it raises on foreign properties that are no UTF-8 or hold a timestamp out of range: such a message would break
the connection of every consumer that meets it. Here nothing that a queue can hold raises.

Layouts: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3.5 and 4.2.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, pack, unpack_from
from typing import Final, NamedTuple

from amends.outbox.drivers.amqp_tables import Value, read_table, value_bytes
from amends.outbox.message import (
    CONTENT_TYPE,
    HEADER_CONTENT_ENCODING,
    HEADER_PRIORITY,
    NOT_HEADERS,
    Message,
)

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END: Final = 0xCE
FRAME_OVERHEAD_BYTES: Final = 8

BASIC: Final = 60
RETURN: Final = pack(">HH", BASIC, 50)
DELIVER: Final = pack(">HH", BASIC, 60)
ACK: Final = pack(">HH", BASIC, 80)
NACK: Final = pack(">HH", BASIC, 120)

PERSISTENT: Final = b"\x02"
EXPIRATION_MS_MAX: Final = 4_294_967_295  # RabbitMQ closes the channel over a longer one

_FRAME: Final = Struct(">BHI")
_CONTENT_HEADER: Final = Struct(">BHIHHQH")  # frame type, channel, size, class, weight, body size, flags
_SETTLE: Final = Struct(">BHIHHQBB")  # frame type, channel, size, class, method, tag, bits, end
_SETTLE_BYTES: Final = 13
_TIMESTAMP: Final = Struct(">Q")
_LONG_STRING: Final = Struct(">cI")
_END: Final = bytes((FRAME_END,))


class Unsendable(ValueError):
    """A message that does not fit into AMQP's frames."""


class Properties(NamedTuple):
    """What travels beside a body. Text that is no UTF-8 has replacement characters."""

    content_type: str = ""
    content_encoding: str = ""
    headers: dict[str, Value] | None = None
    correlation_id: str = ""
    reply_to: str = ""
    message_id: str = ""
    type: str = ""
    expiration: str = ""


def publish_frames(channel: int, message: Message, timestamp_s: int, frame_bytes_max: int) -> bytes:
    """A persistent `basic.publish` with its content; `mandatory` if a queue must take it.

    Raises: Unsendable if a name has more than 255 bytes, or the headers do not fit into one frame.
    """
    flags = 0x8000 | 0x1000 | 0x0080 | 0x0040 | 0x0020
    properties = [_JSON if not message.headers else _short("content_type", message.content_type)]
    if message.headers:
        flags |= 0x2000
        encoding = message.headers.get(HEADER_CONTENT_ENCODING)
        if encoding is not None:
            flags |= 0x4000
            properties.append(_short("content_encoding", str(encoding)))
        properties.append(_headers(message))
    properties.append(PERSISTENT)
    if message.headers:
        priority = message.headers.get(HEADER_PRIORITY)
        if isinstance(priority, int):
            flags |= 0x0800
            properties.append(bytes((max(0, min(priority, 255)),)))
    if message.correlation_id is not None:
        flags |= 0x0400
        properties.append(_short("correlation_id", message.correlation_id))
    if message.reply_to is not None:
        flags |= 0x0200
        properties.append(_short("reply_to", message.reply_to))
    if message.expiration_ms is not None:
        flags |= 0x0100
        properties.append(_short("expiration", str(max(0, min(message.expiration_ms, EXPIRATION_MS_MAX)))))
    properties.append(_short("message_id", message.message_id))
    properties.append(_TIMESTAMP.pack(timestamp_s))
    properties.append(_short("type", message.type))

    body = message.body
    listed = b"".join(properties)
    if len(listed) + 14 > frame_bytes_max - FRAME_OVERHEAD_BYTES:
        raise Unsendable(f"headers of {len(listed):,} bytes; they must fit into {frame_bytes_max:,}")
    parts = [
        _publish_method(channel, message.exchange, message.routing_key, message.mandatory),
        _CONTENT_HEADER.pack(HEADER, channel, 14 + len(listed), BASIC, 0, len(body), flags),
        listed,
        _END,
    ]
    chunk_bytes_max = frame_bytes_max - FRAME_OVERHEAD_BYTES
    for start in range(0, len(body), chunk_bytes_max):
        chunk = body[start : start + chunk_bytes_max]
        parts += (_FRAME.pack(BODY, channel, len(chunk)), chunk, _END)
    return b"".join(parts)


def ack_frame(channel: int, tag: int, *, multiple: bool) -> bytes:
    """`basic.ack`."""
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES, BASIC, 80, tag, multiple, FRAME_END)


def requeue_frame(channel: int, tag: int) -> bytes:
    """`basic.reject` with `requeue`."""
    return _SETTLE.pack(METHOD, channel, _SETTLE_BYTES, BASIC, 90, tag, True, FRAME_END)


def read_confirm(method: bytes) -> tuple[int, bool]:
    """The tag of a `basic.ack` or `basic.nack`, and whether it speaks for all before it."""
    tag, bits = unpack_from(">QB", method, 4)
    return tag, bool(bits & 1)


def read_deliver(method: bytes) -> tuple[str, int, bool]:
    """Consumer tag, delivery tag and redelivered of a `basic.deliver`."""
    end = 5 + method[4]
    tag, redelivered = unpack_from(">QB", method, end)
    return str(method[5:end], "utf-8", "replace"), tag, bool(redelivered & 1)


def read_return(method: bytes) -> tuple[str, str, str]:
    """Reply text, exchange and routing key of a `basic.return`."""
    names = []
    at = 6
    for _ in range(3):
        end = at + 1 + method[at]
        names.append(str(method[at + 1 : end], "utf-8", "replace"))
        at = end
    return names[0], names[1], names[2]


def read_header(payload: bytes) -> tuple[int, Properties]:
    """The size of the body that follows, in bytes, and the properties."""
    size: int
    size, flags = unpack_from(">QH", payload, 4)
    at = 14
    values: list[str] = []
    headers: dict[str, Value] | None = None
    for bit in (0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020):
        if not flags & bit:
            if bit in _TEXTS:
                values.append("")
        elif bit == 0x2000:
            headers, at = read_table(payload, at)
        elif bit in (0x1000, 0x0800):  # delivery mode, priority
            at += 1
        elif bit == 0x0040:  # timestamp
            at += 8
        else:
            end = at + 1 + payload[at]
            # No database stores a NUL: what is put aside with it must be storable.
            values.append(str(payload[at + 1 : end], "utf-8", "replace").replace("\0", "\ufffd"))
            at = end
    content_type, encoding, correlation_id, reply_to, expiration, message_id, type_ = values
    return size, Properties(
        content_type, encoding, headers, correlation_id, reply_to, message_id, type_, expiration
    )


_TEXTS: Final = frozenset({0x8000, 0x4000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020})


@lru_cache(maxsize=1024)
def _publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    payload = b"".join(
        (
            pack(">HHH", BASIC, 40, 0),
            _short("exchange", exchange),
            _short("routing_key", routing_key),
            bytes((mandatory,)),
        )
    )
    return _FRAME.pack(METHOD, channel, len(payload)) + payload + _END


def _short(name: str, text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > 255:
        raise Unsendable(f"{name} has {len(encoded):,} bytes; AMQP allows 255")
    return bytes((len(encoded),)) + encoded


_JSON: Final = _short("content_type", CONTENT_TYPE)


def _headers(message: Message) -> bytes:
    parts: list[bytes] = []
    for name, value in message.headers.items():
        if name in NOT_HEADERS:
            continue
        parts.append(_short("a header's name", name))
        if isinstance(value, str):
            encoded = value.encode("utf-8", "surrogatepass")
            parts += (_LONG_STRING.pack(b"S", len(encoded)), encoded)
        else:
            parts.append(value_bytes(value))
    table = b"".join(parts)
    return pack(">I", len(table)) + table
