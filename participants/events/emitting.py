"""`emit`: an event in the caller's own transaction. It only inserts an outbox row, as `put` does.

    emit(session, "user.created", {"id": 7, "name": "Ada"}, source="/users", version=2, key="user-7")

A relay of that database publishes it to the topic exchange `<prefix>.events`. Events of one key leave in the order in
which their transactions put them (O6); every copy of one has the same id.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from amends.outbox import wire
from amends.outbox.limits import NAME_BYTES_MAX
from amends.outbox.message import CONTENT_TYPE, HEADER_CONTENT_TYPE, Message
from amends.outbox.ports import events_exchange
from amends.outbox.spelling import input_problem, is_printable
from amends.participants.errors import InvalidInput, InvalidPayload
from amends.participants.events.types import EventType, check_type
from amends.participants.payloads import encode
from amends.participants.starts import trace_headers

if TYPE_CHECKING:
    from amends.outbox.putting import AsyncPutter, Putter

ID_BYTES_MAX: Final = 64  # It is the message's id as well.
SOURCE_CHARS_MAX: Final = 255


def emit(
    session: Putter,
    type: str | EventType,  # noqa: A002 - CloudEvents' word.
    data: Any = None,
    *,
    source: str,
    version: int | None = None,
    key: str | None = None,
    subject: str = "",
    id: str | None = None,  # noqa: A002 - CloudEvents' word.
    prefix: str = "amends",
    traceparent: str | None = None,
) -> str:
    """Tell the world of an event if, and only if, the transaction open on `session` commits; gives its id.

    `source` is who says so, a path such as `/users`: with the id it names the event. `version` is that of the data's
    schema, by default the EventType's, else 1. Without an `id` it gets a random one. `subject` is what it is about.
    Events of one `key` leave one at a time, in order; a transaction that uses several had better take them in one
    order everywhere (O6). `traceparent` is by default, in a handler, the handled message's own.

    Raises: InvalidInput before anything is stored, for data that is not of the EventType's too; MessageTooLarge,
    UnsupportedSession, OutboxNotInstalled as `amends.outbox.put` does.
    """
    from amends.outbox import put

    message = make_event(
        type,
        data,
        source=source,
        version=version,
        key=key,
        subject=subject,
        id_=id,
        prefix=prefix,
        traceparent=traceparent,
    )
    put(session, message)
    return message.message_id


async def aemit(
    session: AsyncPutter,
    type: str | EventType,  # noqa: A002 - As emit.
    data: Any = None,
    *,
    source: str,
    version: int | None = None,
    key: str | None = None,
    subject: str = "",
    id: str | None = None,  # noqa: A002 - As emit.
    prefix: str = "amends",
    traceparent: str | None = None,
) -> str:
    """As `emit`, on an AsyncSession, an AsyncConnection or an async psycopg connection."""
    from amends.outbox import aput

    message = make_event(
        type,
        data,
        source=source,
        version=version,
        key=key,
        subject=subject,
        id_=id,
        prefix=prefix,
        traceparent=traceparent,
    )
    await aput(session, message)
    return message.message_id


def make_event(
    type_: str | EventType,
    data: Any,
    *,
    source: str,
    version: int | None = None,
    key: str | None = None,
    subject: str = "",
    id_: str | None = None,
    prefix: str = "amends",
    traceparent: str | None = None,
) -> Message:
    """The message of an event. Raises: InvalidInput."""
    name = type_.name if isinstance(type_, EventType) else type_
    if version is None:
        version = type_.version if isinstance(type_, EventType) else 1
    check_type(name, version)
    _check_text(name, "source", source, SOURCE_CHARS_MAX)
    if subject:
        _check_text(name, "subject", subject, SOURCE_CHARS_MAX)
    if key is not None:
        _check_text(name, "key", key, NAME_BYTES_MAX)
    if id_ is not None:
        _check_text(name, "id", id_, ID_BYTES_MAX)
    headers = trace_headers(traceparent)
    event = wire.DomainEvent(
        specversion="1.0",
        id=id_ or str(uuid4()),
        source=source,
        type=name,
        subject=subject,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        datacontenttype=CONTENT_TYPE,
        data=msgspec.Raw(_checked(name, type_, data)),
        traceparent=headers.get(wire.HEADER_TRACEPARENT, ""),
        tracestate=headers.get(wire.HEADER_TRACESTATE, ""),
        dataversion=version,
        partitionkey=key or "",
    )
    return Message(
        exchange=events_exchange(prefix),
        routing_key=name,
        type=name,
        body=wire.encode(event),
        message_id=event.id,
        headers={HEADER_CONTENT_TYPE: wire.CLOUD_EVENT, **headers},
        key=key,
    )


def _checked(name: str, type_: str | EventType, data: Any) -> bytes:
    try:
        payload = encode(data)
        problem = input_problem(msgspec.json.decode(payload))
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InvalidInput(f"event {name!r}: its data cannot be written as JSON: {error}") from error
    if problem is not None:
        raise InvalidInput(f"event {name!r}: its data is {problem}")
    if isinstance(type_, EventType):
        try:
            type_.reader.read(payload)
        except InvalidPayload as error:
            raise InvalidInput(f"event {name!r}: data.{error.path}: {error.problem}") from error
    return payload


def _check_text(name: str, what: str, text: str, bytes_max: int) -> None:
    fits = isinstance(text, str) and text and is_printable(text)
    try:
        fits = fits and len(text.encode()) <= bytes_max
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise InvalidInput(
            f"event {name!r}: {what} has 1 to {bytes_max} bytes of printable text; this is {text!r:.60}"
        )
