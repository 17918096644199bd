"""The outbox store on PostgreSQL: one statement per batch, lists as arrays in binary form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, CursorResult

from amends.db.arrays import Blobs, Flags, Floats, Ints, Texts
from amends.db.trips import Statement
from amends.outbox import sql_postgresql as sql
from amends.outbox.message import Message, OutboxRow
from amends.outbox.storage import (
    HandBack,
    OutboxStats,
    OwnerRules,
    ParkedRow,
    Resend,
    claimed_row,
    headers_text,
    message_values,
)
from amends.outbox.wire import Receipt


class PostgresStorage:
    """`Storage` on PostgreSQL, READ COMMITTED. Takes quoted table names."""

    def __init__(self, outbox: str, owner: str) -> None:
        self._sql: Final = {
            name: text.replace("$outbox", outbox).replace("$owner", owner)
            for name, text in vars(sql).items()
            if name.isupper()
        }

    def _run(
        self, connection: Connection, name: str, values: Mapping[str, object]
    ) -> CursorResult[*tuple[Any, ...]]:
        return connection.exec_driver_sql(self._sql[name], dict(values))

    def lock_keys(self, connection: Connection, hashes: Sequence[int]) -> None:
        self._run(connection, "LOCK_KEYS", {"keys": list(hashes)}).close()

    def insert(self, connection: Connection, messages: Sequence[Message], owner: UUID | None) -> list[int]:
        inserted = connection.exec_driver_sql(*self.inserting(messages, owner))
        return sorted(inserted.scalars())

    def inserting(self, messages: Sequence[Message], owner: UUID | None) -> Statement:
        if len(messages) == 1:
            return Statement(self._sql["INSERT_ONE"], insert_one_values(messages[0], owner))
        return Statement(self._sql["INSERT"], insert_values(messages, owner))

    def delete(self, connection: Connection, ids: Sequence[int]) -> None:
        self._wake(connection, "DELETE", {"ids": Ints(ids)})

    def deleting(self, ids: Sequence[int]) -> Statement:
        return Statement(self._sql["DELETE"], {"ids": Ints(ids)})

    def receive(self, connection: Connection, receipts: Sequence[Receipt]) -> int:
        return self._wake(
            connection,
            "RECEIVE",
            {
                "ids": Ints([receipt.row for receipt in receipts]),
                "message_ids": Texts([receipt.message_id for receipt in receipts]),
            },
        )

    def drop_parked(self, connection: Connection, ids: Sequence[int]) -> int:
        return self._wake(connection, "DROP", {"ids": Ints(ids)})

    def _wake(self, connection: Connection, delete: str, values: Mapping[str, object]) -> int:
        """Delete, then let the next row of each ordering key go. Answers how many rows the delete told of."""
        told = self._run(connection, delete, values).scalars().all()
        keys = sorted({key for key in told if key is not None})
        if keys:
            self._run(connection, "WAKE", {"keys": keys})
        return len(told)

    def looking(self) -> Statement:
        return Statement(self._sql["LOOK"], {})

    def claim(self, connection: Connection, rows_max: int, lease_s: float) -> tuple[list[OutboxRow], bool]:
        candidates = self._run(connection, "CANDIDATES", {"rows_max": rows_max}).all()
        ids = [id_ for id_, _ in candidates]
        keyed = [(id_, key) for id_, key in candidates if key is not None]
        if keyed:
            asked = {"ids": [id_ for id_, _ in keyed], "keys": [key for _, key in keyed]}
            behind = set(self._run(connection, "BEHIND", asked).scalars())
            if behind:
                self._run(connection, "DEFER", {"ids": sorted(behind)})
                ids = [id_ for id_ in ids if id_ not in behind]
        rows = self._run(connection, "LEASE", {"ids": Ints(ids), "lease_s": lease_s}).all() if ids else ()
        claimed = [claimed_row(row, row[12]) for row in rows]
        return sorted(claimed, key=lambda row: row.id), len(candidates) == rows_max

    def release(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "RELEASE", _hand_back(ids, how))

    def disown(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "DISOWN", _hand_back(ids, how))

    def mark_sent(self, connection: Connection, ids: Sequence[int], resend: Resend) -> None:
        values = {"ids": Ints(ids), "first_s": float(resend.first_s), "longest_s": float(resend.longest_s)}
        self._run(connection, "MARK_SENT", values)

    def park(self, connection: Connection, ids: Sequence[int], error: str) -> None:
        self._run(connection, "PARK", {"ids": Ints(ids), "error": error})

    def retry_parked(self, connection: Connection, ids: Sequence[int] | None) -> int:
        return self._run(connection, "RETRY_PARKED", {"ids": None if ids is None else Ints(ids)}).rowcount

    def parked(self, connection: Connection, rows_max: int, after: int) -> list[ParkedRow]:
        return [
            ParkedRow(*row) for row in self._run(connection, "PARKED", {"rows_max": rows_max, "after": after})
        ]

    def stats(self, connection: Connection) -> OutboxStats:
        return OutboxStats(*self._run(connection, "STATS", {}).one())

    def beat(self, connection: Connection, owner: UUID, label: str) -> None:
        self._run(connection, "BEAT", {"owner": owner, "label": label})

    def forget_owner(self, connection: Connection, owner: UUID) -> None:
        self._run(connection, "FORGET_OWNER", {"owner": owner})

    def adopt(self, connection: Connection, ids: Sequence[int], owner: UUID) -> None:
        self._run(connection, "ADOPT", {"ids": Ints(ids), "owner": owner})

    def disown_dead(self, connection: Connection, rows_max: int, rules: OwnerRules) -> int:
        values = {
            "rows_max": rows_max,
            "dead_s": float(rules.dead_s),
            "backstop_s": float(rules.backstop_s),
            "grace_s": float(rules.grace_s),
        }
        return int(self._run(connection, "DISOWN_DEAD", values).scalar_one())

    def prune_owners(self, connection: Connection, dead_s: float) -> None:
        self._run(connection, "PRUNE_OWNERS", {"dead_s": float(dead_s)})


def insert_values(messages: Sequence[Message], owner: UUID | None) -> dict[str, object]:
    """The bound values of INSERT."""
    return {
        "message_id": Texts([message.message_id for message in messages]),
        "exchange": Texts([message.exchange for message in messages]),
        "routing_key": Texts([message.routing_key for message in messages]),
        "type": Texts([message.type for message in messages]),
        "correlation_id": Texts([message.correlation_id for message in messages]),
        "reply_to": Texts([message.reply_to for message in messages]),
        "headers": Texts([headers_text(message) for message in messages]),
        "expiration_ms": Ints([message.expiration_ms for message in messages]),
        "body": Blobs([message.body for message in messages]),
        "ordering_key": Texts([message.key for message in messages]),
        "needs_receipt": Flags([message.needs_receipt for message in messages]),
        "delay_s": Floats([float(message.delay_s) for message in messages]),
        "owner": owner,
    }


def insert_one_values(message: Message, owner: UUID | None) -> dict[str, object]:
    """The bound values of INSERT_ONE. What is ordered or delayed has no owner: it is swept."""
    return {
        **message_values(message),
        "delay_s": float(message.delay_s),
        "owner": owner if message.key is None and message.delay_s <= 0 else None,
    }


def _hand_back(ids: Sequence[int], how: HandBack) -> dict[str, object]:
    return {
        "ids": Ints(ids),
        "delay_s": float(how.delay_s),
        "error": how.error,
        "counts": int(how.counts),
        "returned": how.returned,
    }
