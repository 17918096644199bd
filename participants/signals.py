"""What a signal says, checked before anything is stored or sent."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

import msgspec

from amends.outbox import wire
from amends.outbox.message import new_message_id
from amends.participants.errors import InvalidInput
from amends.participants.payloads import encode

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(/[0-9]+)*")
_ID: Final = re.compile(r"[ -~]+")


def make_signal(saga_id: str, name: str, payload: Any, message_id: str | None) -> wire.Signal:
    """The signal, with an id of its own unless one is given. Raises: InvalidInput, saying what cannot be one."""
    try:
        saga = str(UUID(saga_id))
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"a saga's id is a UUID, as `start` gives it, not {saga_id!r:.60}") from None
    if len(name) > wire.PATH_CHARS_MAX or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"signal {name!r:.60}: a name has letters, digits, '_', '-', '.'; in an each the numbers follow: approved/3"
        )
    if message_id is not None and (
        len(message_id) > wire.SIGNAL_ID_CHARS_MAX or not _ID.fullmatch(message_id)
    ):
        raise InvalidInput(
            f"signal {name!r}: an id has 1 to {wire.SIGNAL_ID_CHARS_MAX} printable ASCII characters"
        )
    try:
        body = encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"signal {name!r}: its payload cannot be written as JSON: {error}") from error
    if len(body) > wire.SIGNAL_BYTES_MAX:
        raise InvalidInput(
            f"signal {name!r}: its payload has {len(body):,} bytes, over the limit of {wire.SIGNAL_BYTES_MAX:,}"
        )
    return wire.Signal(
        saga=saga,
        name=name,
        payload=msgspec.Raw(body),
        id=message_id if message_id is not None else new_message_id(),
    )
