"""A command on its way through Celery: out of the participant's worker, into the task.

It travels as it came, as text in the task's only argument, so that the task's barrier sees what the coordinator sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from amends.outbox.celery_messages import task_message
from amends.outbox.message import Message
from amends.outbox.ports import Delivery
from amends.outbox.wire import COMMAND, HEADER_TRACEPARENT
from amends.participants.worker.inbound import Inbound

_FIELDS: Final = ("body", "reply_to", "prefix", "traceparent")
_DELIVERY_COUNT: Final = "x-delivery-count"


@dataclass(frozen=True, slots=True)
class Received:
    """A command in a Celery worker, and the prefix of the queues it came from."""

    delivery: Delivery
    prefix: str


def handed_over(task: Any, inbound: Inbound, options: Mapping[str, Any]) -> Message:
    """The command as a call of its Celery task. It expires when the command would: the saga sends the next one (M6).

    Raises: as `task_message` does.
    """
    delivery = inbound.delivery
    handing = {
        "body": delivery.body.decode(),
        "reply_to": inbound.reply_to,
        "prefix": inbound.prefix,
        "traceparent": inbound.traceparent,
    }
    lives_s = int(delivery.expiration) / 1000 if delivery.expiration.isdecimal() else None
    _, message = task_message(task, (handing,), expires=lives_s, **options)
    return message


def received(handed: dict[str, str], request: Any) -> Received:
    """The command in a task's argument. Raises: ValueError for anything else than what `handed_over` made."""
    if not isinstance(handed, dict) or not all(isinstance(handed.get(name), str) for name in _FIELDS):
        raise ValueError(
            "no command: this task is called by a participant's worker, with what a saga asks for"
        )
    body = handed["body"].encode()
    count = request.get(
        _DELIVERY_COUNT
    )  # Quorum queues count; of others it is only known that it came before.
    info = request.delivery_info or {}
    trace = handed["traceparent"]
    delivery = Delivery(
        tag=0,
        queue=str(info.get("routing_key") or ""),
        body=body,
        type=COMMAND,
        message_id=str(request.id),
        reply_to=handed["reply_to"],
        headers={HEADER_TRACEPARENT: trace} if trace else {},
        redelivered=bool(info.get("redelivered")),
        delivery_count=count if isinstance(count, int) else 0,
        size_bytes=len(body),
    )
    return Received(delivery, handed["prefix"])
