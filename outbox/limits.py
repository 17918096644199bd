"""What an outbox takes. Checked before a row is stored: what cannot be published must not be committed (O5)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from amends.outbox.errors import InvalidHeader, MessageTooLarge
from amends.outbox.message import HEADER_PRIORITY, HeaderValue, Message

BODY_BYTES_MAX: Final = 1024 * 1024
# AMQP's short strings; the columns are as wide.
NAME_BYTES_MAX: Final = 255
MESSAGE_ID_BYTES_MAX: Final = 64
# With the other properties it must fit into one frame, 128 KiB by default.
HEADERS_BYTES_MAX: Final = 32 * 1024
HEADER_DEPTH_MAX: Final = 8
_INTEGER_MAX: Final = 2**63 - 1


def check(message: Message, body_bytes_max: int = BODY_BYTES_MAX) -> None:
    """Raises: MessageTooLarge, naming the field and its limit; InvalidHeader, naming the header."""
    _fits(message, "body", len(message.body), body_bytes_max)
    _fits(message, "message_id", len(message.message_id.encode()), MESSAGE_ID_BYTES_MAX)
    for field, value in (
        ("exchange", message.exchange),
        ("routing_key", message.routing_key),
        ("type", message.type),
        ("correlation_id", message.correlation_id),
        ("reply_to", message.reply_to),
        ("key", message.key),
    ):
        # No character takes more than four bytes, so most texts need not be encoded to be known to fit.
        if value is not None and len(value) * 4 > NAME_BYTES_MAX:
            _fits(message, field, len(value.encode()), NAME_BYTES_MAX)
    if message.headers:
        size = sum(
            len(name.encode())
            + (len(value.encode()) if isinstance(value, str) else _header_bytes(name, value))
            for name, value in message.headers.items()
        )
        _fits(message, "headers", size, HEADERS_BYTES_MAX)


def _fits(message: Message, field: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise MessageTooLarge(
            f"the {field} of the {message.type[:60]!r} message to {message.routing_key[:60]!r}",
            size_bytes,
            limit_bytes,
        )


def _header_bytes(name: str, value: HeaderValue) -> int:
    if name == HEADER_PRIORITY and not (type(value) is int and 0 <= value <= 255):
        raise InvalidHeader(name, f"a priority is a whole number from 0 to 255, not {value!r}")
    _require_json(name, value, 0)
    return len(msgspec.json.encode(value))


def _require_json(name: str, value: HeaderValue, depth: int) -> None:
    """What AMQP and JSON can both hold. Raises: InvalidHeader."""
    if depth > HEADER_DEPTH_MAX:
        raise InvalidHeader(name, f"it is nested deeper than {HEADER_DEPTH_MAX}")
    if value is None or isinstance(value, str | bool | float):
        return
    if isinstance(value, int):
        if not -_INTEGER_MAX <= value <= _INTEGER_MAX:
            raise InvalidHeader(name, f"{value} does not fit into 64 bits")
    elif isinstance(value, list):
        for item in value:
            _require_json(name, item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or len(key.encode()) > NAME_BYTES_MAX:
                raise InvalidHeader(
                    name, f"its keys are strings of at most {NAME_BYTES_MAX} bytes, not {key!r:.80}"
                )
            _require_json(name, item, depth + 1)
    else:
        raise InvalidHeader(name, f"{type(value).__name__} is not JSON")


def key_hash(table: str, key: str) -> int:
    """The number of the advisory lock of one ordering key of one table: the same in every client."""
    digest = blake2b(f"amends-outbox\0{table}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
