"""What travels between coordinator and participants: the bodies of the messages, and how they are read.

`docs/protocol.md` tells the same for other languages. Unknown fields are ignored, so that a newer side may add
some. Bodies are JSON; `Message.type` says which struct a body is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID, uuid5

import msgspec

from amends.outbox.errors import MalformedMessage

COMMAND = "amends.command"
REPLY = "amends.reply"
START = "amends.start"
SIGNAL = "amends.signal"
TELL = "amends.tell"
REPORT = "amends.report"
RECEIPT = "amends.receipt"
FINISHED = "amends.finished"
CLOUD_EVENT = "application/cloudevents+json"  # the content type of a domain event

PATH_CHARS_MAX = 300
NAME_CHARS_MAX = 120
LABELS_MAX = 20  # that a start brings, and that a definition makes
LABELS_TOGETHER_MAX = 40  # that a saga has
LABEL_CHARS_MAX = 255  # of a label's name, and of its value
REASON_CHARS_MAX = 2_000

KEY_CHARS_MAX = 255
SIGNAL_ID_CHARS_MAX = 64
SIGNAL_BYTES_MAX = 65_536

NULL = msgspec.Raw(b"null")

# The namespace of events' ids. Never to change: a copy would not be known for one.
EVENT_IDS: Final = UUID("b3b6f0a5-64d4-5c8e-8d51-0c5a3f2c9e77")

# The namespace of saga ids that come from a key. Never to change: a key's saga would become another.
SAGA_IDS: Final = UUID("5f6d7f2e-0f4b-5f0a-9a43-6d1c3d0f7a11")


class Op(StrEnum):
    """What a command asks for. Its name is also its barrier row's."""

    DO = "do"
    UNDO = "undo"
    CONFIRM = "confirm"
    FENCE = "fence"
    END = "end"  # the saga is over: let go what you hold for it; answered by a receipt, not by a reply


class Outcome(StrEnum):
    """What a participant answers.

    `done`: it happened, with `result`. `refused`: a business no, with `reason` and `certain` (M2).
    `failed`: transient, with `reason`, `retry_after_s` and `spent` (M3).
    `never`: a fence took its place; it will never run (B3). `unknown`: a pivot's fence met a call in doubt (B5).
    `nothing`: there was nothing to undo (B2). `expired`: too old for the barrier to tell (B6).
    """

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    NEVER = "never"
    UNKNOWN = "unknown"
    NOTHING = "nothing"
    EXPIRED = "expired"


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request to a participant. Times are milliseconds since 1970, UTC."""

    saga: str  # UUID
    name: str  # the saga's name
    path: str
    op: Op
    command: str  # the handler's name: the step's `do`, `undo` or `confirm`; of a fence the step's `do`
    round: int
    attempt: int
    args: msgspec.Raw = NULL
    closes: Op | None = None  # only a closing fence's: the op that it closes
    started_at: int  # when the saga started
    deadline: int | None = None  # advisory
    labels: dict[str, str] = {}
    # The saga may hold locks, and can still turn back: it must not wait for an older one (L2).
    holds: bool = False
    settled: bool = False  # the saga cannot turn back any more: it waits for a lock, whatever it holds (L2)


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A participant's answer to one command. It repeats the command's saga, path, op, round and attempt."""

    saga: str
    path: str
    op: Op
    round: int
    attempt: int
    outcome: Outcome
    participant: str
    result: msgspec.Raw = NULL
    reason: str = ""
    certain: bool = True
    spent: bool = True
    retry_after_s: float | None = None
    ran_in_round: int | None = None  # the round in which a resent outcome was reached, if another
    in_doubt: bool = False  # a closing fence of `undo` met a do row in doubt
    closes: Op | None = None
    holds: bool = False  # the saga holds locks here, until its `end` (L1)


class Caller(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who calls a child saga: a saga, the path of its call, and the call's round (K1).

    `holds`: the call stands before its saga's pivot, so the child is held, once done, until that has decided (K2).
    """

    saga: str
    path: str
    round: int
    holds: bool


class Start(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request to start a saga. `saga` is the id it will have: UUIDv5 of name and key, or random."""

    saga: str
    name: str
    input: msgspec.Raw
    version: int | None = None  # None: the active version
    key: str | None = None
    labels: dict[str, str] = {}
    sent_at: int  # when it was put, ms since 1970, by the sender's clock; nothing is decided by it
    parent: Caller | None = None  # only of a child saga
    finished: str | None = None  # the participant that is told when the saga has ended, or is rejected


class Tell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a parent has decided for its child `saga`, or that it wants to know (K2, K3, K5)."""

    saga: str
    order: Literal["settle", "compensate", "fence"]
    parent: Caller


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a child tells its parent `saga`: `path` and `round` are those of the call (K2, K4, K5)."""

    saga: str
    path: str
    round: int
    child: str
    outcome: Literal["done", "refused", "never", "stuck"]
    result: msgspec.Raw = NULL
    reason: str = ""


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a saga waits for has happened, or will be waited for: early ones are kept (S1).

    In an `each` the numbers of the items follow the name: `approved/3`. `id` tells copies; without it the message's
    own id does.
    """

    saga: str
    name: str
    payload: msgspec.Raw = NULL
    id: str = ""


class DomainEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a saga or a service tells the world: a CloudEvent 1.0 in structured mode, its extensions at the end.

    `datamissing` says why there is no `data`, where there should be.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str = ""  # of a saga's event the saga's id
    time: str = ""
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    traceparent: str = ""
    tracestate: str = ""
    dataversion: int | None = None  # of the data's schema; absent: 1
    partitionkey: str = ""  # events of one key leave in order (O6)
    saganame: str = ""
    sagapath: str = ""  # the step instance: `placed`, or `packed/3`; of the saga itself empty
    sagaop: str = ""  # `do`, or `undo` when the saga turned back
    datamissing: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The coordinator has what this message said, durably (O1). `row` is the outbox row it came from."""

    message_id: str
    row: int
    note: str = ""  # what became of it: accepted, duplicate, conflict, rejected, quarantined ...


class Finished(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A saga has ended, or its start was rejected: told to the participant that the start names.

    `id` is that of every copy. Times are milliseconds since 1970. `resultmissing` says why there is no `result`, where
    there should be.
    """

    id: str
    saga: str
    name: str
    version: int
    status: Literal["completed", "compensated", "rejected"]
    result: msgspec.Raw = NULL
    reason: str = ""
    labels: dict[str, str] = {}
    started_at: int
    ended_at: int
    resultmissing: str = ""


# The reason of a `failed` that met somebody else's lock; `amends why` tells it apart.
LOCK_HELD: Final = "another transaction holds a lock"

HEADER_ROW = "amends-row"  # the outbox row id of a message that needs a receipt or has a key
HEADER_RECEIPT_TO = "amends-receipt-to"  # the queue that wants the receipt
HEADER_TRACEPARENT = "traceparent"
HEADER_TRACESTATE = "tracestate"
HEADER_ANSWER = "amends-answer"  # of a command that no saga sends: what becomes of its answer
ANSWER_OPTIONAL: Final = "optional"  # whoever asks may be gone: then it is dropped
ANSWER_DURABLE: Final = "durable"  # nobody asks again: every answer is kept until it is sent, a `failed` too

_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    COMMAND: msgspec.json.Decoder(Command),
    REPLY: msgspec.json.Decoder(Reply),
    START: msgspec.json.Decoder(Start),
    SIGNAL: msgspec.json.Decoder(Signal),
    TELL: msgspec.json.Decoder(Tell),
    REPORT: msgspec.json.Decoder(Report),
    RECEIPT: msgspec.json.Decoder(Receipt),
    FINISHED: msgspec.json.Decoder(Finished),
}
Body = Command | Reply | Start | Signal | Tell | Report | Receipt | Finished


def event_id_of(saga: str, path: str, op: str) -> str:
    """The id of every copy of an event: UUIDv5 of the saga's id, its path and its op, a line feed between them."""
    return str(uuid5(EVENT_IDS, f"{saga}\n{path}\n{op}"))


def saga_id_of(name: str, key: str) -> str:
    """The id of the saga that `key` starts: UUIDv5 of the saga's name, a line feed and the key."""
    return str(uuid5(SAGA_IDS, f"{name}\n{key}"))


def encode(body: Body | DomainEvent) -> bytes:
    """The JSON of a body."""
    return _encoder.encode(body)


def decode(type_: str, body: bytes) -> Body:
    """Read the body of a message of this type.

    Raises: MalformedMessage for an unknown type, and for a body that is not what its type says.
    """
    decoder = _decoders.get(type_)
    if decoder is None:
        raise MalformedMessage(f"unknown message type {type_!r}; known: {', '.join(sorted(_decoders))}")
    try:
        body.decode()  # What is left raw, such as an input, is not looked into by the decoder.
        decoded: Body = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"a body that is no {type_}: {error}") from error
    return decoded
