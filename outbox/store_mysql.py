"""The outbox store on MySQL and MariaDB, for participants and services of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, CursorResult

from amends.outbox import sql_mysql as sql
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

# One statement must fit into one packet, of which the server takes at least 16 MiB and the driver may double a body.
_ROWS_PER_INSERT: Final = 1_000
_BYTES_PER_INSERT: Final = 4 * 1024 * 1024


class MysqlStorage:
    """`Storage` on MySQL and MariaDB, READ COMMITTED. Takes quoted table names."""

    def __init__(self, outbox: str, owner: str, keys: str) -> None:
        self._sql: Final = {
            name: text.replace("$outbox", outbox).replace("$owner", owner).replace("$keys", keys)
            for name, text in vars(sql).items()
            if name.isupper()
        }

    def _run(
        self,
        connection: Connection,
        name: str,
        values: Mapping[str, object] | None = None,
        *,
        ids: Iterable[int] = (),
        texts: Sequence[str] = (),
    ) -> CursorResult[*tuple[Any, ...]]:
        named = {f"text{number}": text for number, text in enumerate(texts)}
        statement = (
            self._sql[name]
            .replace("$ids", ", ".join(str(int(id_)) for id_ in sorted(ids)))
            .replace("$list", ", ".join(f"%({place})s" for place in named))
        )
        return connection.exec_driver_sql(statement, {**(values or {}), **named})

    def lock_keys(self, connection: Connection, hashes: Sequence[int]) -> None:
        for statement in locking(self._sql, hashes):
            connection.exec_driver_sql(statement)

    def insert(self, connection: Connection, messages: Sequence[Message], owner: UUID | None) -> list[int]:
        step = 1 if len(messages) == 1 else int(self._run(connection, "STEP").scalar_one())
        ids: list[int] = []
        for some in _in_packets(messages):
            statement = self._sql["INSERT"].replace("$rows", ", ".join([self._sql["INSERT_ROW"]] * len(some)))
            values = tuple(value for message in some for value in row_values(message, owner))
            first = int(connection.exec_driver_sql(statement, values).lastrowid)
            ids += range(first, first + step * len(some), step)
        return ids

    def inserting(self, messages: Sequence[Message], owner: UUID | None) -> None:
        """None: the driver sends no statements together, and no ids come back."""

    def delete(self, connection: Connection, ids: Sequence[int]) -> None:
        self._delete(connection, "DELETE", ids)

    def deleting(self, ids: Sequence[int]) -> None:
        """None, as `inserting`."""

    def drop_parked(self, connection: Connection, ids: Sequence[int]) -> int:
        return self._delete(connection, "DROP", ids)

    def receive(self, connection: Connection, receipts: Sequence[Receipt]) -> int:
        told = {(receipt.row, receipt.message_id) for receipt in receipts}
        held = self._run(connection, "RECEIPTED", ids={row for row, _ in told})
        ids = [id_ for id_, message_id in held if (id_, message_id) in told]
        return self._delete(connection, "RECEIVE", ids) if ids else 0

    def _delete(self, connection: Connection, delete: str, ids: Sequence[int]) -> int:
        keys = self._run(connection, "KEYS", ids=ids).scalars().all()
        deleted = self._run(connection, delete, ids=ids).rowcount
        if keys:
            heads = self._run(connection, "HEADS", texts=keys).scalars().all()
            if heads:
                self._run(connection, "WAKE", ids=heads)
        return deleted

    def looking(self) -> None:
        """A claim that finds nothing is hardly dearer than a look."""

    def claim(self, connection: Connection, rows_max: int, lease_s: float) -> tuple[list[OutboxRow], bool]:
        candidates = self._run(connection, "CANDIDATES", {"rows_max": rows_max}).all()
        behind = self._behind(connection, {id_: key for id_, key in candidates if key is not None})
        if behind:
            self._run(connection, "DEFER", ids=behind)
        ids = [id_ for id_, _ in candidates if id_ not in behind]
        if not ids:
            return [], len(candidates) == rows_max
        self._run(connection, "LEASE", {"lease_s": float(lease_s)}, ids=ids)
        rows = [tuple(row) for row in self._run(connection, "LEASED", ids=ids)]
        return [claimed_row(row, _time(row[12])) for row in rows], len(candidates) == rows_max

    def _behind(self, connection: Connection, keyed: Mapping[int, str]) -> set[int]:
        if not keyed:
            return set()
        found = self._run(connection, "BEHIND", texts=sorted(set(keyed.values())))
        heads = {row[0]: row[1] for row in found}
        return {id_ for id_, key in keyed.items() if heads[key] < id_}

    def release(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "RELEASE", _hand_back(how), ids=ids)

    def disown(self, connection: Connection, ids: Sequence[int], how: HandBack) -> None:
        self._run(connection, "DISOWN", _hand_back(how), ids=ids)

    def mark_sent(self, connection: Connection, ids: Sequence[int], resend: Resend) -> None:
        values = {"first_s": float(resend.first_s), "longest_s": float(resend.longest_s)}
        self._run(connection, "MARK_SENT", values, ids=ids)

    def park(self, connection: Connection, ids: Sequence[int], error: str) -> None:
        self._run(connection, "PARK", {"error": error}, ids=ids)

    def retry_parked(self, connection: Connection, ids: Sequence[int] | None) -> int:
        if ids is None:
            return self._run(connection, "RETRY_PARKED").rowcount
        return self._run(connection, "RETRY_THESE", ids=ids).rowcount if ids else 0

    def parked(self, connection: Connection, rows_max: int, after: int) -> list[ParkedRow]:
        rows = self._run(connection, "PARKED", {"rows_max": rows_max, "after": after})
        return [_parked(row) for row in rows]

    def stats(self, connection: Connection) -> OutboxStats:
        return OutboxStats(*self._run(connection, "STATS").one())

    def beat(self, connection: Connection, owner: UUID, label: str) -> None:
        self._run(connection, "BEAT", {"owner": owner.hex, "label": label})

    def forget_owner(self, connection: Connection, owner: UUID) -> None:
        self._run(connection, "FORGET_OWNER", {"owner": owner.hex})

    def adopt(self, connection: Connection, ids: Sequence[int], owner: UUID) -> None:
        self._run(connection, "ADOPT", {"owner": owner.hex}, ids=ids)

    def disown_dead(self, connection: Connection, rows_max: int, rules: OwnerRules) -> int:
        holders = set(self._run(connection, "HOLDERS").scalars())
        if not holders:
            return 0
        # Asked after the rows: an owner's heartbeat is committed before its first row.
        living = set(self._run(connection, "LIVING", {"dead_s": float(rules.dead_s)}).scalars())
        taken: list[int] = []
        if holders - living:
            found = self._run(connection, "ORPHANS", {"rows_max": rows_max}, texts=sorted(holders - living))
            taken += found.scalars()
        if holders & living:
            values = {"rows_max": rows_max, "backstop_s": float(rules.backstop_s)}
            old = self._run(connection, "FORGOTTEN", values, texts=sorted(holders & living)).all()
            unmarked = [id_ for id_, new, _ in old if new]
            if unmarked:
                self._run(connection, "MARK_OLD", {"grace_s": float(rules.grace_s)}, ids=unmarked)
            taken += [id_ for id_, _, overdue in old if overdue]
        if taken:
            self._run(connection, "TAKE", ids=taken)
        return len(taken)

    def prune_owners(self, connection: Connection, dead_s: float) -> None:
        self._run(connection, "PRUNE_OWNERS", {"dead_s": float(dead_s)})


def locking(statements: Mapping[str, str], hashes: Iterable[int]) -> tuple[str, str]:
    """What makes puts of some keys wait for each other (O6), in an order in which no two deadlock."""
    numbers = [str(int(number)) for number in sorted(set(hashes))]
    rows = ", ".join(f"({number})" for number in numbers)
    return (
        statements["LOCK_KEYS"].replace("$hashes", rows),
        statements["HIDE_KEYS"].replace("$list", ", ".join(numbers)),
    )


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


def _in_packets(messages: Sequence[Message]) -> Iterator[list[Message]]:
    some: list[Message] = []
    size = 0
    for message in messages:
        if some and (len(some) == _ROWS_PER_INSERT or size + len(message.body) > _BYTES_PER_INSERT):
            yield some
            some, size = [], 0
        some.append(message)
        size += len(message.body)
    yield some


def _hand_back(how: HandBack) -> dict[str, object]:
    return {
        "delay_s": float(how.delay_s),
        "error": how.error,
        "counts": int(how.counts),
        "returned": how.returned,
    }


def _parked(row: Any) -> ParkedRow:
    return ParkedRow(row[0], row[1], row[2], row[3], row[4], _time(row[5]), _time(row[6]), row[7], row[8])


def _time(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
