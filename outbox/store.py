"""The outbox table as its senders and relays use it. Methods that touch it take an open connection; none commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from uuid import UUID

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from amends.db.mysql import NO_TABLE, code, is_mysql
from amends.db.tables.outbox import key_table
from amends.db.trips import Statement
from amends.outbox.errors import OutboxNotInstalled, UnsupportedSession
from amends.outbox.limits import BODY_BYTES_MAX, check, key_hash
from amends.outbox.message import Message, OutboxRow
from amends.outbox.storage import HandBack, OutboxStats, OwnerRules, ParkedRow, Resend, Storage
from amends.outbox.store_mysql import MysqlStorage
from amends.outbox.store_postgresql import PostgresStorage
from amends.outbox.store_sqlite import SqliteStorage
from amends.outbox.wire import Receipt


class OutboxStore:
    """One outbox table and the table of its owners, on PostgreSQL, MySQL, MariaDB or SQLite.

    Every method raises OutboxNotInstalled if a table is missing.
    """

    def __init__(
        self,
        outbox: Table,
        owner: Table,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        resend: Resend | None = None,
    ) -> None:
        self._outbox = outbox
        self._owner = owner
        self._body_bytes_max = body_bytes_max
        self._resend = resend or Resend()

    @cached_property
    def _postgresql(self) -> Storage:
        quote = postgresql.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call,unused-ignore]
        return PostgresStorage(quote(self._outbox), quote(self._owner))

    @cached_property
    def _sqlite(self) -> Storage:
        quote = sqlite.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call,unused-ignore]
        return SqliteStorage(quote(self._outbox), quote(self._owner))

    @cached_property
    def _mysql(self) -> Storage:
        quote = mysql.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call,unused-ignore]
        keys = key_table(self._outbox.name, self._outbox.schema)
        return MysqlStorage(quote(self._outbox), quote(self._owner), keys)

    @contextmanager
    def _storage(self, database: Connection | Engine) -> Iterator[Storage]:
        dialect = database.dialect.name
        require_known(dialect)
        with not_installed(self._outbox.fullname):
            if dialect == "postgresql":
                yield self._postgresql
            else:
                yield self._mysql if is_mysql(dialect) else self._sqlite

    def insert(
        self, connection: Connection, messages: Sequence[Message], owner: UUID | None = None
    ) -> list[int]:
        """Store messages with one statement; the ids in the messages' order, rising.

        Messages with a key or a delay get no owner: any relay sends them. Keys are locked first, until the
        transaction ends (O6). Raises: MessageTooLarge before anything is stored (O5).
        """
        if not messages:
            return []
        for message in messages:
            check(message, self._body_bytes_max)
        hashes = [key_hash(self._outbox.name, message.key) for message in messages if message.key is not None]
        with self._storage(connection) as storage:
            if hashes:
                storage.lock_keys(connection, hashes)
            return storage.insert(connection, messages, owner)

    def delete(self, connection: Connection, ids: Sequence[int]) -> None:
        """Delete confirmed rows, and let the next of their ordering keys go. Unknown ids are ignored.

        Rows that need a receipt stay: mark them sent (O1).
        """
        if ids:
            with self._storage(connection) as storage:
                storage.delete(connection, ids)

    def inserting(
        self, connection: Connection, messages: Sequence[Message], owner: UUID | None = None
    ) -> Statement | None:
        """The statement of `insert`, for whoever sends it together with others; it answers with the ids, unordered.

        None where it takes more than one: with keys, and but on PostgreSQL. Raises: MessageTooLarge (O5).
        """
        if any(message.key is not None for message in messages):
            return None
        for message in messages:
            check(message, self._body_bytes_max)
        with self._storage(connection) as storage:
            return storage.inserting(messages, owner)

    def deleting(self, connection: Connection, ids: Sequence[int]) -> Statement | None:
        """The statement of `delete` for rows that have an owner, and so no key; None but on PostgreSQL."""
        with self._storage(connection) as storage:
            return storage.deleting(ids)

    @contextmanager
    def naming_tables(self) -> Iterator[None]:
        """While statements of `inserting`, `deleting` and `looking` run: says which table is missing, if one is."""
        with not_installed(self._outbox.fullname):
            yield

    def looking(self, engine: Engine) -> Statement | None:
        """The statement that finds a row if any is due, for whoever looks before a claim; None: claim at once."""
        with self._storage(engine) as storage:
            return storage.looking()

    def claim(self, connection: Connection, rows_max: int, lease_s: float) -> list[OutboxRow]:
        """Lease up to `rows_max` due rows for `lease_s` seconds, oldest first, in id order.

        Another relay skips leased rows until the lease runs out. Of each ordering key only the oldest row is
        taken, and only while none is under way (O6).
        """
        return self.claim_batch(connection, rows_max, lease_s)[0]

    def claim_batch(
        self, connection: Connection, rows_max: int, lease_s: float
    ) -> tuple[list[OutboxRow], bool]:
        """As `claim`; also whether as many rows were due as it looked at: then there may be more."""
        with self._storage(connection) as storage:
            return storage.claim(connection, rows_max, lease_s)

    def release(
        self,
        connection: Connection,
        ids: Sequence[int],
        delay_s: float,
        error: str,
        *,
        counts: bool = False,
        returned: bool = False,
    ) -> None:
        """Hand claimed rows back to the sweep, due in `delay_s` seconds.

        `counts`: as an attempt, for the row's own back-off. `returned`: it had no route; remembers since when.
        """
        if ids:
            with self._storage(connection) as storage:
                storage.release(connection, ids, HandBack(delay_s, error, counts, returned))

    def disown(
        self,
        connection: Connection,
        ids: Sequence[int],
        delay_s: float,
        error: str,
        *,
        counts: bool = False,
        returned: bool = False,
    ) -> None:
        """Give rows from an owner to the sweep; what was swept already is left alone. Else as `release`."""
        if ids:
            with self._storage(connection) as storage:
                storage.disown(connection, ids, HandBack(delay_s, error, counts, returned))

    def mark_sent(self, connection: Connection, ids: Sequence[int]) -> None:
        """Confirmed rows that need a receipt now wait for it, without an owner; sent again with back-off (O1)."""
        if ids:
            with self._storage(connection) as storage:
                storage.mark_sent(connection, ids, self._resend)

    def receive(self, connection: Connection, receipts: Sequence[Receipt]) -> int:
        """Delete what these receipts speak of; how many rows that was. Unknown and foreign receipts are ignored."""
        if not receipts:
            return 0
        with self._storage(connection) as storage:
            return storage.receive(connection, receipts)

    def park(self, connection: Connection, ids: Sequence[int], error: str) -> None:
        """Set rows aside for an operator, by their own fault (O4). A parked row blocks its ordering key."""
        if ids:
            with self._storage(connection) as storage:
                storage.park(connection, ids, error)

    def retry_parked(self, connection: Connection, ids: Sequence[int] | None = None) -> int:
        """Let parked rows go again, all or these; how many there were."""
        with self._storage(connection) as storage:
            return storage.retry_parked(connection, ids)

    def drop_parked(self, connection: Connection, ids: Sequence[int]) -> int:
        """Delete parked rows for good, and let the next of their ordering keys go; how many there were."""
        if not ids:
            return 0
        with self._storage(connection) as storage:
            return storage.drop_parked(connection, ids)

    def parked(self, connection: Connection, rows_max: int = 100, after: int = 0) -> list[ParkedRow]:
        """A page of parked rows with ids above `after`."""
        with self._storage(connection) as storage:
            return storage.parked(connection, rows_max, after)

    def stats(self, connection: Connection) -> OutboxStats:
        """What stands in the table now."""
        with self._storage(connection) as storage:
            return storage.stats(connection)

    def beat(self, connection: Connection, owner: UUID, label: str) -> None:
        """An owner lives, in database time."""
        with self._storage(connection) as storage:
            storage.beat(connection, owner, label[:255])

    def forget_owner(self, connection: Connection, owner: UUID) -> None:
        """An owner is gone: whatever rows it has left are swept."""
        with self._storage(connection) as storage:
            storage.forget_owner(connection, owner)

    def adopt(self, connection: Connection, ids: Sequence[int], owner: UUID) -> None:
        """Give owned rows to another owner. Rows that have none are left to the sweep."""
        if ids:
            with self._storage(connection) as storage:
                storage.adopt(connection, ids, owner)

    def disown_dead(self, connection: Connection, rows_max: int, rules: OwnerRules) -> int:
        """Give up to `rows_max` rows of dead owners, and forgotten ones of living owners, to the sweep (O2)."""
        with self._storage(connection) as storage:
            return storage.disown_dead(connection, rows_max, rules)

    def prune_owners(self, connection: Connection, dead_s: float) -> None:
        """Forget owners that died over an hour ago and left no rows."""
        with self._storage(connection) as storage:
            storage.prune_owners(connection, dead_s)


def require_known(dialect: str) -> None:
    """Return if there is SQL for this dialect, by SQLAlchemy's name. Raises: UnsupportedSession."""
    if dialect not in ("postgresql", "sqlite") and not is_mysql(dialect):
        raise UnsupportedSession(f"no outbox on {dialect}; known: postgresql, mysql, mariadb, sqlite")


@contextmanager
def not_installed(table: str, kind: type[Exception] = DBAPIError) -> Iterator[None]:
    """Raises: OutboxNotInstalled, naming the mend, for an error of this kind that says the table is missing."""
    try:
        yield
    except kind as error:
        if _says_missing(getattr(error, "orig", error)):
            raise OutboxNotInstalled(
                f"no outbox table {table!r} in this database, or an older one; create it with: amends migrate "
                f"(--participant for a service's own database)"
            ) from error
        raise


def _says_missing(error: BaseException) -> bool:
    """Whether a driver's error says that a table, column or schema is missing."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)  # of psycopg, of psycopg2
    if state in ("42P01", "42703", "3F000") or code(error) in NO_TABLE:
        return True
    text = str(error)
    return isinstance(error, sqlite3.Error) and ("no such table" in text or "has no column" in text)
