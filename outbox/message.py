"""A message on its way: what is stored in an outbox row and what is published from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias
from uuid import uuid4

CONTENT_TYPE: Final = "application/json"
# What a header may be: any JSON. Other than a string it is for those who ask for AMQP's types, such as Celery.
HeaderValue: TypeAlias = "str | int | float | bool | list[HeaderValue] | dict[str, HeaderValue] | None"

# Among a message's headers, these say what AMQP has other places for, and do not travel as headers.
HEADER_CONTENT_TYPE: Final = "content-type"  # bodies that are not plain JSON name it
HEADER_CONTENT_ENCODING: Final = "amends-content-encoding"
HEADER_PRIORITY: Final = "amends-priority"  # 0 to 255
HEADER_MANDATORY: Final = "amends-mandatory"  # a named exchange must have a queue for it
HEADER_OPTIONAL: Final = "amends-optional"  # the default exchange may have no queue for it
NOT_HEADERS: Final = frozenset(
    {HEADER_CONTENT_TYPE, HEADER_CONTENT_ENCODING, HEADER_PRIORITY, HEADER_MANDATORY, HEADER_OPTIONAL}
)


def new_message_id() -> str:
    """A random UUID, in text."""
    return str(uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message for the broker, complete but for the moment it leaves.

    Messages are persistent and JSON. The default exchange (`exchange=""`) routes to the queue named by
    `routing_key`, and there must be one. What a named exchange does with a message is its subscribers' affair.

    `expiration_ms` is how long the broker keeps an unconsumed message; None keeps it for ever.
    `key` orders: messages of one key leave one at a time, in the order in which they were put (O6).
    `needs_receipt` keeps the row after the broker's confirm until its receiver's receipt (O1).
    `delay_s` is how many seconds after the insert the message becomes due (O7).
    """

    routing_key: str
    type: str
    body: bytes
    exchange: str = ""
    message_id: str = field(default_factory=new_message_id)
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    expiration_ms: int | None = None
    key: str | None = None
    needs_receipt: bool = False
    delay_s: float = 0.0

    @property
    def mandatory(self) -> bool:
        """Whether it is wrong that no queue takes it.

        An event may have no subscriber, and the answer to a call no caller any more: it is then dealt with (O4).
        """
        return HEADER_MANDATORY in self.headers if self.exchange else HEADER_OPTIONAL not in self.headers

    @property
    def content_type(self) -> str:
        """What its body is."""
        return str(self.headers.get(HEADER_CONTENT_TYPE, CONTENT_TYPE)) if self.headers else CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message with its row id in the outbox table it was stored in, and what became of it so far.

    `age_s` is how old the row was when it was read, and `returned_s` for how long it had been without a route
    then (None: it was not), both in database time.
    """

    id: int
    message: Message
    created_at: datetime
    attempts: int = 0
    age_s: float = 0.0
    returned_s: float | None = None
