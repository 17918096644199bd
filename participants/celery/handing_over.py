"""A command on its way through Celery: out of the participant's worker, into the task.

It travels as it came, as text in the task's only argument, so that the task's barrier sees what the coordinator sent.
Where messages are signed or coded, so is it: a Celery worker believes nobody else than amends does.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from amends.outbox.celery_messages import task_message
from amends.outbox.message import CONTENT_TYPE, HeaderValue, Message, new_message_id
from amends.outbox.ports import Delivery
from amends.outbox.sealing import Seal
from amends.outbox.sealing.codec import HEADER_CODEC, CodecUnavailable
from amends.outbox.traces import carrying
from amends.outbox.wire import COMMAND, HEADER_ANSWER
from amends.participants.calls.deferring import HEADER_WAITS
from amends.participants.errors import Failed
from amends.participants.worker.inbound import Inbound

_HEADER_PREFIX: Final = "amends-prefix"
_DELIVERY_COUNT: Final = "x-delivery-count"


class NoCommand(ValueError):
    """A task's argument that no participant's worker has made."""

    def __init__(self) -> None:
        super().__init__(
            "no command: this task is called by a participant's worker, with what a saga asks for"
        )


@dataclass(frozen=True, slots=True)
class Received:
    """A command in a Celery worker, and the prefix of the queues it came from."""

    delivery: Delivery
    prefix: str


def handed_over(task: Any, inbound: Inbound, options: Mapping[str, Any], seal: Seal | None) -> Message:
    """The command as a call of its Celery task. It expires when the command would: the saga sends the next one (M6).

    Raises: Failed while the codec is away; as `task_message` does.
    """
    delivery = inbound.delivery
    headers: dict[str, HeaderValue] = {_HEADER_PREFIX: inbound.prefix, **carrying(inbound.trace)}
    for name in (HEADER_ANSWER, HEADER_WAITS):
        if delivery.headers.get(name):
            headers[name] = str(delivery.headers[name])
    command = Message(
        routing_key=task.name,
        type=COMMAND,
        body=delivery.body,
        message_id=delivery.message_id or new_message_id(),
        reply_to=inbound.reply_to,
        headers=headers,
    )
    if seal is not None:
        try:
            command = seal.closed(command)
        except CodecUnavailable as error:
            raise Failed(f"the codec of message bodies is away: {error}", spent=False) from error
    coded = HEADER_CODEC in command.headers
    handing = {
        "body": b64encode(command.body).decode() if coded else command.body.decode(),
        "message_id": command.message_id,
        "reply_to": inbound.reply_to,
        "headers": dict(command.headers),
    }
    lives_s = int(delivery.expiration) / 1000 if delivery.expiration.isdecimal() else None
    _, message = task_message(task, (handing,), expires=lives_s, **options)
    return message


def received(handed: Any, task: Any, seal: Seal | None) -> Received:
    """The command in a task's argument. It has a `fault` if it is not to be believed.

    Raises: NoCommand for anything else than what `handed_over` made; CodecUnavailable.
    """
    body, message_id, reply_to, headers = _parts(handed)
    request = task.request
    count = request.get(
        _DELIVERY_COUNT
    )  # Quorum queues count; of others it is only known that it came before.
    delivery = Delivery(
        tag=0,
        queue=task.name,
        body=body,
        type=COMMAND,
        message_id=message_id,
        reply_to=reply_to,
        content_type=CONTENT_TYPE,
        headers=headers,
        redelivered=bool((request.delivery_info or {}).get("redelivered")),
        delivery_count=count if isinstance(count, int) else 0,
        size_bytes=len(body),
    )
    return Received(delivery if seal is None else seal.opened(delivery), headers[_HEADER_PREFIX])


def _parts(handed: Any) -> tuple[bytes, str, str, dict[str, str]]:
    if not isinstance(handed, dict):
        raise NoCommand
    texts = [handed.get(name) for name in ("body", "message_id", "reply_to")]
    headers = handed.get("headers")
    if (
        not all(isinstance(text, str) for text in texts)
        or not isinstance(headers, dict)
        or not all(isinstance(value, str) for value in headers.values())
        or _HEADER_PREFIX not in headers
    ):
        raise NoCommand
    body, message_id, reply_to = (str(text) for text in texts)
    if HEADER_CODEC not in headers:
        return body.encode(), message_id, reply_to, headers
    try:
        return b64decode(body, validate=True), message_id, reply_to, headers
    except binascii.Error as error:
        raise NoCommand from error
