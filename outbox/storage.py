"""The seam between the outbox store and a kind of database: what each kind must be able to do.

`amends.outbox.store_postgresql`, `store_mysql` and `store_sqlite` implement it. `OutboxStore` says what each operation
means; an implementation may rely on lists that are not empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from amends.db.trips import Statement
from amends.outbox.message import Message, OutboxRow
from amends.outbox.wire import Receipt


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """What stands in an outbox table. `oldest_age_s` is the oldest pending row's age; 0 if there is none."""

    pending: int
    oldest_age_s: float
    awaiting_receipt: int
    parked: int


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """A row that waits for an operator, and why."""

    id: int
    message_id: str
    exchange: str
    routing_key: str
    type: str
    created_at: datetime
    parked_at: datetime
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Resend:
    """When a message is sent again for want of its receipt: after `first_s`, then doubling to `longest_s`."""

    first_s: float = 10.0
    longest_s: float = 300.0


@dataclass(frozen=True, slots=True)
class HandBack:
    """Why rows go back to the sweep, and when they are due again.

    `counts`: it is an attempt that counts for the row's own back-off. `returned`: it had no route (O4).
    """

    delay_s: float
    error: str
    counts: bool = False
    returned: bool = False


@dataclass(frozen=True, slots=True)
class OwnerRules:
    """When rows are taken from their owners (O2), in seconds of database time.

    `dead_s` after its last heartbeat an owner is dead. Rows of a living owner are taken once they are older than
    `backstop_s` and were seen to be so for `grace_s`.
    """

    dead_s: float = 20.0
    backstop_s: float = 300.0
    grace_s: float = 15.0


class Storage(Protocol):
    """The operations of `OutboxStore` on one kind of database. None commits."""

    def lock_keys(self, connection: Connection, hashes: Sequence[int]) -> None: ...
    def insert(
        self, connection: Connection, messages: Sequence[Message], owner: UUID | None
    ) -> list[int]: ...
    def inserting(self, messages: Sequence[Message], owner: UUID | None) -> Statement | None: ...
    def delete(self, connection: Connection, ids: Sequence[int]) -> None: ...
    def deleting(self, ids: Sequence[int]) -> Statement | None: ...
    def receive(self, connection: Connection, receipts: Sequence[Receipt]) -> int: ...
    def looking(self) -> Statement | None: ...
    def claim(
        self, connection: Connection, rows_max: int, lease_s: float
    ) -> tuple[list[OutboxRow], bool]: ...
    def release(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None: ...
    def disown(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None: ...
    def mark_sent(self, connection: Connection, ids: Sequence[int], resend: Resend) -> None: ...
    def park(self, connection: Connection, ids: Sequence[int], error: str) -> None: ...
    def retry_parked(self, connection: Connection, ids: Sequence[int] | None) -> int: ...
    def drop_parked(self, connection: Connection, ids: Sequence[int]) -> int: ...
    def parked(self, connection: Connection, rows_max: int, after: int) -> list[ParkedRow]: ...
    def stats(self, connection: Connection) -> OutboxStats: ...
    def beat(self, connection: Connection, owner: UUID, label: str) -> None: ...
    def forget_owner(self, connection: Connection, owner: UUID) -> None: ...
    def adopt(self, connection: Connection, ids: Sequence[int], owner: UUID) -> None: ...
    def disown_dead(self, connection: Connection, rows_max: int, rules: OwnerRules) -> int: ...
    def prune_owners(self, connection: Connection, dead_s: float) -> None: ...


_headers_encoder: Final = msgspec.json.Encoder()
_headers_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def headers_text(message: Message) -> str:
    """The message's headers as they are stored."""
    return _headers_encoder.encode(dict(message.headers)).decode() if message.headers else "{}"


def message_values(message: Message) -> dict[str, object]:
    """The columns of its row that say what the message is, and not when it leaves or who sends it."""
    return {
        "message_id": message.message_id,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "type": message.type,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "headers": headers_text(message),
        "expiration_ms": message.expiration_ms,
        "body": message.body,
        "ordering_key": message.key,
        "needs_receipt": message.needs_receipt,
    }


def claimed_row(row: Sequence[Any], created_at: datetime) -> OutboxRow:
    """A row as LEASE returns it; each kind of database has its own idea of a time."""
    message = Message(
        message_id=row[1],
        exchange=row[2],
        routing_key=row[3],
        type=row[4],
        correlation_id=row[5],
        reply_to=row[6],
        headers={} if row[7] == "{}" else _headers_decoder.decode(row[7]),
        expiration_ms=row[8],
        body=bytes(row[9]),
        key=row[10],
        needs_receipt=bool(row[11]),
    )
    return OutboxRow(row[0], message, created_at, row[13], row[14], row[15])
