"""A message that a handler is to hear of once: read from its queue, before it meets the barrier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID, uuid5

import msgspec

from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.limits import BODY_BYTES_MAX
from amends.outbox.message import Message
from amends.outbox.ports import Delivery
from amends.participants.context import Workspace

# The namespace of the barrier ids of events. Never to change: a copy would not be known for one.
HEARD_IDS: Final = UUID("6a0b9f4e-53c1-5b7d-9a3f-5d4c1e7f2b90")
HEADER_TRIES: Final = "amends-tries"  # how often a handler has failed on it
HEADER_WAITS: Final = "amends-waits"  # how often it was put off, for whatever reason

_ZONED: Final = Annotated[datetime, msgspec.Meta(tz=True)]
_PLAIN: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "identity", "binary"})
_COUNT_MAX: Final = 1_000_000
_ROW_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What `Taking` needs of a message.

    `key` and `path` are its barrier row's, `payload` is the JSON that the handler declares a type for, and
    `started_ms` when it was sent (B6), milliseconds since 1970. `refusal` says no in the handler's place.
    `receipt` leaves once it is dealt with, and again for every copy (O1).
    """

    key: UUID
    path: str
    payload: bytes
    started_ms: int
    context: Callable[[Workspace], object]
    described: Mapping[str, object]
    refusal: str = ""
    receipt: Message | None = None


def plain_body(delivery: Delivery) -> bytes:
    """The body. Raises: MalformedMessage for a compressed or oversized one, and one that must not be believed."""
    if delivery.fault:
        raise MalformedMessage(delivery.fault)
    if delivery.content_encoding.lower() not in _PLAIN:
        raise MalformedMessage(
            f"content encoding {delivery.content_encoding[:40]!r} is refused; send plain JSON"
        )
    if max(delivery.size_bytes, len(delivery.body)) > BODY_BYTES_MAX:
        raise MalformedMessage(f"{delivery.size_bytes:,} bytes are over the limit of {BODY_BYTES_MAX:,}")
    return delivery.body


def read_event(delivery: Delivery) -> wire.DomainEvent:
    """The event in a message: a CloudEvent 1.0 in structured mode. Raises: MalformedMessage, saying what is wrong."""
    body = plain_body(delivery)
    try:
        body.decode()
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        event = msgspec.json.decode(body, type=wire.DomainEvent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"no CloudEvent in structured mode: {error}") from error
    if not event.specversion.startswith("1."):
        raise MalformedMessage(f"CloudEvents {event.specversion[:20]!r} are not known; 1.0 is")
    if not (event.id and event.source and event.type):
        raise MalformedMessage("a CloudEvent has an id, a source and a type")
    if "data_base64" in fields:
        raise MalformedMessage("data_base64: data that is no JSON; send it as text, or a reference to it")
    sent_ms(event)
    return event


def sent_ms(event: wire.DomainEvent) -> int | None:
    """When it was emitted, by its emitter; None if it does not say. Raises: MalformedMessage for no RFC 3339 time."""
    if not event.time:
        return None
    moment = time_of(event)
    assert moment is not None, "it has a time"
    return int(moment.timestamp() * 1000)


def time_of(event: wire.DomainEvent) -> datetime | None:
    """Its time, if it says. Raises: MalformedMessage."""
    if not event.time:
        return None
    try:
        moment: datetime = msgspec.convert(event.time, _ZONED)
    except msgspec.ValidationError as error:
        raise MalformedMessage(f"time: {event.time[:40]!r} is no RFC 3339 time with a zone") from error
    return moment


def heard_id(source: str, id_: str) -> UUID:
    """The barrier's id of an event: UUIDv5 of its source and its id, a line feed between them."""
    return uuid5(HEARD_IDS, f"{source}\n{id_}")


def count_in(delivery: Delivery, header: str) -> int:
    """A number that a copy carries; 0 for what is none."""
    text = str(delivery.headers.get(header) or "")
    return min(int(text), _COUNT_MAX) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def row_in(delivery: Delivery) -> int | None:
    """The outbox row it came from, if it says (O6)."""
    text = str(delivery.headers.get(wire.HEADER_ROW) or "")
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _ROW_MAX else None
    )


def traceparent_of(delivery: Delivery) -> str:
    """The W3C trace context it came with, or nothing."""
    return str(delivery.headers.get(wire.HEADER_TRACEPARENT) or "")
