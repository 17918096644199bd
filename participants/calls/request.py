"""A call on the wire: a `do` command that no saga sends.

Its id stands where a saga's does, and its path is `call/<command>`. So the barrier knows a call that comes twice, and a
participant obeys it as any command.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

import msgspec

from amends.outbox import wire
from amends.outbox.limits import check
from amends.outbox.message import Message
from amends.outbox.ports import command_queue
from amends.outbox.spelling import is_printable
from amends.participants.errors import InvalidInput
from amends.participants.payloads import encode
from amends.participants.starts import trace_headers

# The namespace of the ids of calls with a key. Never to change: a call made again would be another.
CALL_IDS: Final = UUID("2f1c7b7a-6b0e-5d39-8a4f-90a1d3c5e7b2")
CALL_PATH: Final = "call/"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def make_call(
    service: str, participant: str, command: str, args: Any, key: str | None, *, deadline_s: float | None
) -> wire.Command:
    """The command of a call, its first attempt. `deadline_s` is in how many seconds nobody waits any more.

    Raises: InvalidInput for names, a key or args that cannot be sent.
    """
    for what, name in (("a participant", participant), ("a command", command), ("a service", service)):
        check_name(what, name)
    if key is not None and not (
        isinstance(key, str) and 0 < len(key) <= wire.KEY_CHARS_MAX and is_printable(key)
    ):
        raise InvalidInput(f"a key has 1 to {wire.KEY_CHARS_MAX} printable characters; this is {key!r:.40}")
    try:
        payload = encode(args)
        msgspec.json.decode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{participant}.{command}: its args cannot be written as JSON: {error}") from error
    now_ms = time.time_ns() // 1_000_000
    return wire.Command(
        saga=str(uuid4()) if key is None else call_id_of(service, participant, command, key),
        name=service,
        path=CALL_PATH + command,
        op=wire.Op.DO,
        command=command,
        round=1,
        attempt=1,
        args=msgspec.Raw(payload),
        started_at=now_ms,
        deadline=None if deadline_s is None else now_ms + int(deadline_s * 1000),
    )


def check_name(what: str, name: str) -> None:
    """Raises: InvalidInput for what cannot be part of a queue's name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > wire.NAME_CHARS_MAX:
        raise InvalidInput(
            f"{name!r:.80} cannot name {what}: up to {wire.NAME_CHARS_MAX} letters, digits, - and _, not a digit first"
        )


def call_id_of(service: str, participant: str, command: str, key: str) -> str:
    """The id of a call with a key: UUIDv5 of who calls, whom, what and the key, a line feed between them."""
    return str(uuid5(CALL_IDS, f"{service}\n{participant}\n{command}\n{key}"))


def command_called(path: str) -> str | None:
    """The command that a reply's path tells of; None if it is no call's."""
    return path.removeprefix(CALL_PATH) if path.startswith(CALL_PATH) else None


def as_message(
    call: wire.Command, participant: str, prefix: str, *, reply_to: str, answer: str, expires_s: float | None
) -> Message:
    """The message that carries a call. `answer` is one of wire's ANSWER_; without `expires_s` it waits for ever.

    Raises: MessageTooLarge.
    """
    message = Message(
        routing_key=command_queue(prefix, participant, undo=False),
        type=wire.COMMAND,
        body=wire.encode(call),
        correlation_id=call.saga,
        reply_to=reply_to,
        headers={**trace_headers(None), wire.HEADER_ANSWER: answer},
        expiration_ms=None if expires_s is None else max(1, int(expires_s * 1000)),
    )
    check(message)
    return message


def addressed(message: Message, call: wire.Command, *, reply_to: str, expires_s: float) -> Message:
    """The same call once more: another attempt, to be answered elsewhere."""
    return replace(
        message,
        message_id=str(uuid4()),
        body=wire.encode(call),
        reply_to=reply_to,
        expiration_ms=max(1, int(expires_s * 1000)),
    )
