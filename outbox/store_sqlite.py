"""The outbox store on SQLite, for participants and small services. Ids are never used again (AUTOINCREMENT)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, CursorResult

from amends.outbox import sql_sqlite as sql
from amends.outbox.message import Message, OutboxRow
from amends.outbox.storage import (
    HandBack,
    OutboxStats,
    OwnerRules,
    ParkedRow,
    Resend,
    claimed_row,
    headers_text,
)
from amends.outbox.wire import Receipt

# SQLite bounds the values of one statement: 32,766 since 3.32.
_ROWS_PER_INSERT: Final = 32_766 // sql.INSERT_ROW_VALUES


class SqliteStorage:
    """`Storage` on SQLite. Takes quoted table names. Claims and inserts want BEGIN IMMEDIATE."""

    def __init__(self, outbox: str, owner: str) -> None:
        self._sql: Final = {
            name: text.replace("$outbox", outbox).replace("$owner", owner).replace("$now", sql.NOW)
            for name, text in vars(sql).items()
            if name.isupper() and isinstance(text, str)
        }

    def _run(
        self, connection: Connection, name: str, values: Mapping[str, object]
    ) -> CursorResult[*tuple[Any, ...]]:
        return connection.exec_driver_sql(self._sql[name], dict(values))

    def lock_keys(self, connection: Connection, hashes: Sequence[int]) -> None:
        """Nothing: whoever inserts holds the only write lock, and ids are drawn under it."""

    def insert(self, connection: Connection, messages: Sequence[Message], owner: UUID | None) -> list[int]:
        ids: list[int] = []
        for first in range(0, len(messages), _ROWS_PER_INSERT):
            some = messages[first : first + _ROWS_PER_INSERT]
            statement = self._sql["INSERT"].replace("$rows", ", ".join([self._sql["INSERT_ROW"]] * len(some)))
            values = tuple(value for message in some for value in row_values(message, owner))
            ids += sorted(connection.exec_driver_sql(statement, values).scalars())
        return ids

    def inserting(self, messages: Sequence[Message], owner: UUID | None) -> None:
        """None: there may be more of them than a statement takes, and a trip costs nothing here."""

    def delete(self, connection: Connection, ids: Sequence[int]) -> None:
        self._delete(connection, "DELETE", ids)

    def deleting(self, ids: Sequence[int]) -> None:
        """None, as `inserting`."""

    def drop_parked(self, connection: Connection, ids: Sequence[int]) -> int:
        return self._delete(connection, "DROP", ids)

    def receive(self, connection: Connection, receipts: Sequence[Receipt]) -> int:
        told = json.dumps([[receipt.row, receipt.message_id] for receipt in receipts])
        ids = self._run(connection, "RECEIPTED", {"receipts": told}).scalars().all()
        return self._delete(connection, "RECEIVE", ids) if ids else 0

    def _delete(self, connection: Connection, delete: str, ids: Sequence[int]) -> int:
        keys = self._run(connection, "KEYS", {"ids": _json(ids)}).scalars().all()
        deleted = self._run(connection, delete, {"ids": _json(ids)}).rowcount
        if keys:
            self._run(connection, "WAKE", {"keys": json.dumps(list(keys))})
        return deleted

    def looking(self) -> None:
        """A claim is no dearer here than a look."""

    def claim(self, connection: Connection, rows_max: int, lease_s: float) -> tuple[list[OutboxRow], bool]:
        candidates = self._run(connection, "CANDIDATES", {"rows_max": rows_max}).all()
        behind = [row[0] for row in candidates if row[1]]
        if behind:
            self._run(connection, "DEFER", {"ids": _json(behind)})
        ids = [row[0] for row in candidates if not row[1]]
        rows = self._run(connection, "LEASE", {"ids": _json(ids), "lease_s": lease_s}).all() if ids else ()
        claimed = [claimed_row(row, _time(row[12])) for row in rows]
        return sorted(claimed, key=lambda row: row.id), len(candidates) == rows_max

    def release(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "RELEASE", _hand_back(ids, how))

    def disown(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "DISOWN", _hand_back(ids, how))

    def mark_sent(self, connection: Connection, ids: Sequence[int], resend: Resend) -> None:
        values = {"ids": _json(ids), "first_s": resend.first_s, "longest_s": resend.longest_s}
        self._run(connection, "MARK_SENT", values)

    def park(self, connection: Connection, ids: Sequence[int], error: str) -> None:
        self._run(connection, "PARK", {"ids": _json(ids), "error": error})

    def retry_parked(self, connection: Connection, ids: Sequence[int] | None) -> int:
        return self._run(connection, "RETRY_PARKED", {"ids": None if ids is None else _json(ids)}).rowcount

    def parked(self, connection: Connection, rows_max: int, after: int) -> list[ParkedRow]:
        rows = self._run(connection, "PARKED", {"rows_max": rows_max, "after": after})
        return [_parked(row) for row in rows]

    def stats(self, connection: Connection) -> OutboxStats:
        return OutboxStats(*self._run(connection, "STATS", {}).one())

    def beat(self, connection: Connection, owner: UUID, label: str) -> None:
        self._run(connection, "BEAT", {"owner": owner.hex, "label": label})

    def forget_owner(self, connection: Connection, owner: UUID) -> None:
        self._run(connection, "FORGET_OWNER", {"owner": owner.hex})

    def adopt(self, connection: Connection, ids: Sequence[int], owner: UUID) -> None:
        self._run(connection, "ADOPT", {"ids": _json(ids), "owner": owner.hex})

    def disown_dead(self, connection: Connection, rows_max: int, rules: OwnerRules) -> int:
        marks = {"dead_s": rules.dead_s, "backstop_s": rules.backstop_s, "grace_s": rules.grace_s}
        self._run(connection, "MARK_OLD", marks)
        return self._run(connection, "DISOWN_DEAD", {"rows_max": rows_max, "dead_s": rules.dead_s}).rowcount

    def prune_owners(self, connection: Connection, dead_s: float) -> None:
        self._run(connection, "PRUNE_OWNERS", {"dead_s": dead_s})


def _json(ids: Sequence[int]) -> str:
    return json.dumps(list(ids))


def row_values(message: Message, owner: UUID | None) -> tuple[Any, ...]:
    """The bound values of one row of INSERT."""
    # What is ordered or delayed has no owner: it is swept.
    swept = owner is None or message.key is not None or message.delay_s > 0
    return (
        message.message_id,
        message.exchange,
        message.routing_key,
        message.type,
        message.correlation_id,
        message.reply_to,
        headers_text(message),
        message.expiration_ms,
        message.body,
        message.key,
        message.needs_receipt,
        float(message.delay_s),
        None if swept or owner is None else owner.hex,
    )


def _hand_back(ids: Sequence[int], how: HandBack) -> dict[str, object]:
    return {
        "ids": _json(ids),
        "delay_s": how.delay_s,
        "error": how.error,
        "counts": int(how.counts),
        "returned": how.returned,
    }


def _parked(row: Any) -> ParkedRow:
    return ParkedRow(row[0], row[1], row[2], row[3], row[4], _time(row[5]), _time(row[6]), row[7], row[8])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
