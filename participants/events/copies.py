"""What a worker sends of a message that it could not deal with: a copy for later, or one for the dead letters."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from amends.outbox import wire
from amends.outbox.dead_letters import HEADER_QUEUE, HEADER_REASON, dead_letter
from amends.outbox.limits import MESSAGE_ID_BYTES_MAX
from amends.outbox.message import CONTENT_TYPE, HEADER_CONTENT_TYPE, Message, new_message_id
from amends.outbox.ports import Delivery
from amends.participants.events.arrivals import HEADER_TRIES, HEADER_WAITS

FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0
_HEADERS_MAX: Final = 50
_CHARS_MAX: Final = 255


def again(delivery: Delivery, *, tries: int, waits: int, after_s: float | None) -> Message:
    """The same message once more, straight to its queue: it waits in the outbox, where no broker can lose it.

    It comes after `after_s` seconds, or 1 s that doubles with every wait up to five minutes, each a little scattered.
    """
    pause_s = min(LONGEST_S, FIRST_S * 2 ** min(waits, 20))
    headers = {**_kept(delivery.headers), HEADER_TRIES: str(tries), HEADER_WAITS: str(waits + 1)}
    if delivery.content_type and delivery.content_type != CONTENT_TYPE:
        headers[HEADER_CONTENT_TYPE] = delivery.content_type
    return Message(
        routing_key=delivery.queue,
        type=delivery.type,
        body=delivery.body,
        message_id=_message_id(delivery),
        correlation_id=delivery.correlation_id or None,
        headers=headers,
        delay_s=max(after_s or 0.0, pause_s * (1.0 + 0.2 * random.random())),
    )


def dead(delivery: Delivery, reason: str, *, prefix: str) -> Message:
    """A copy for the dead-letter queue, from which it can be given back; it begins to count anew."""
    return dead_letter(
        delivery, reason, prefix=prefix, without=(HEADER_TRIES, HEADER_WAITS, wire.HEADER_RECEIPT_TO)
    )


def _kept(headers: Mapping[str, object]) -> dict[str, str]:
    """What a copy carries on: ours and other short texts, not what a broker or an earlier copy wrote."""
    ours = {HEADER_TRIES, HEADER_WAITS, HEADER_REASON, HEADER_QUEUE, wire.HEADER_RECEIPT_TO}
    kept = {
        name: value
        for name, value in headers.items()
        if isinstance(value, str)
        and len(name) <= _CHARS_MAX
        and len(value) <= _CHARS_MAX
        and not name.startswith("x-")
        and name not in ours
    }
    return dict(list(kept.items())[:_HEADERS_MAX])


def _message_id(delivery: Delivery) -> str:
    fits = 0 < len(delivery.message_id.encode()) <= MESSAGE_ID_BYTES_MAX
    return delivery.message_id if fits else new_message_id()
