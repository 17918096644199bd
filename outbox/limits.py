"""What an outbox takes. Checked before a row is stored: what cannot be published must not be committed (O5)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from amends.outbox.errors import MessageTooLarge
from amends.outbox.message import Message

BODY_BYTES_MAX: Final = 1024 * 1024
# AMQP's short strings; the columns are as wide.
NAME_BYTES_MAX: Final = 255
MESSAGE_ID_BYTES_MAX: Final = 64
# With the other properties it must fit into one frame, 128 KiB by default.
HEADERS_BYTES_MAX: Final = 32 * 1024


def check(message: Message, body_bytes_max: int = BODY_BYTES_MAX) -> None:
    """Raises: MessageTooLarge, naming the field and its limit."""
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
        size = sum(len(name.encode()) + len(value.encode()) for name, value in message.headers.items())
        _fits(message, "headers", size, HEADERS_BYTES_MAX)


def _fits(message: Message, field: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise MessageTooLarge(
            f"the {field} of the {message.type[:60]!r} message to {message.routing_key[:60]!r}",
            size_bytes,
            limit_bytes,
        )


def key_hash(table: str, key: str) -> int:
    """The number of the advisory lock of one ordering key of one table: the same in every client."""
    digest = blake2b(f"amends-outbox\0{table}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
