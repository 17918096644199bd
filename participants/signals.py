"""What a signal says, checked before anything is stored or sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from amends.outbox import wire
from amends.outbox.message import new_message_id
from amends.outbox.spelling import payload_problem, signal_id_problem, signal_name_problem
from amends.participants.errors import InvalidInput
from amends.participants.payloads import encode


def make_signal(saga_id: str, name: str, payload: Any, message_id: str | None) -> wire.Signal:
    """The signal, with an id of its own unless one is given. Raises: InvalidInput, saying what cannot be one."""
    try:
        saga = str(UUID(saga_id))
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(f"a saga's id is a UUID, as `start` gives it, not {saga_id!r:.60}") from None
    problem = signal_name_problem(name)
    if problem is None and message_id is not None:
        problem = signal_id_problem(message_id)
    if problem is not None:
        raise InvalidInput(f"signal {name!r:.60}: {problem}")
    try:
        body = encode(payload)
        value = msgspec.json.decode(body)
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InvalidInput(f"signal {name!r}: its payload cannot be written as JSON: {error}") from error
    if len(body) > wire.SIGNAL_BYTES_MAX:
        raise InvalidInput(
            f"signal {name!r}: its payload has {len(body):,} bytes, over the limit of {wire.SIGNAL_BYTES_MAX:,}"
        )
    problem = payload_problem(value)
    if problem is not None:
        raise InvalidInput(f"signal {name!r}: its payload has {problem}")
    return wire.Signal(
        saga=saga,
        name=name,
        payload=msgspec.Raw(body),
        id=message_id if message_id is not None else new_message_id(),
    )
