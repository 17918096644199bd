"""Several statements in one round trip, by libpq's pipeline mode.

Every statement is prepared once for each connection; from then on only its values are sent. Beneath psycopg's cursors:
for a batch of ten statements these, and SQLAlchemy above them, cost the client more than all that the batch decides.
"""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from select import POLLIN, POLLOUT, poll
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from sqlalchemy import Connection

from amends.db.array_dumpers import DUMPERS
from amends.db.trips import BEGIN, COMMIT, Answered, Values, wrapped

WAIT_MS: Final = 1_000

Value: TypeAlias = tuple[bytes | None, int, int]  # as it travels, format, type
Reader: TypeAlias = Callable[[bytes], Any]
_Key: TypeAlias = tuple[str, tuple[int, ...]]  # a statement, and the types of its values

_KNOWN: Final = "amends_prepared"
_PLACEHOLDER: Final = re.compile(r"%(?:\((\w+)\)[sbt]|%)")
_TEXT, _BINARY = Format.TEXT, Format.BINARY
_FAILED: Final = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)
_BOOL, _INT8, _FLOAT8, _BYTEA, _UUID = 16, 20, 701, 17, 2950
_READERS: Final[dict[int, Reader]] = {
    _BOOL: lambda data: data == b"t",
    _INT8: int,
    21: int,
    23: int,
    25: bytes.decode,
    1043: bytes.decode,
    _UUID: bytes.decode,  # Ids are texts everywhere here.
}


class _Statement:
    """A statement as the server takes it; `names` are its values, in their order."""

    __slots__ = ("names", "text")

    def __init__(self, text: str) -> None:
        names: dict[str, int] = {}

        def numbered(found: re.Match[str]) -> str:
            name = found[1]
            return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

        self.text = _PLACEHOLDER.sub(numbered, text).encode()
        self.names = tuple(names)


_statement = lru_cache(maxsize=1_024)(_Statement)
# Never a name twice: one whose run failed may be the server's already.
_numbers = count(1)


@dataclass(slots=True)
class _Prepared:
    """A statement that the server knows by name, for values of certain types; how its rows are read, once known."""

    name: bytes
    row: Callable[[list[Any]], Any] | None = None
    readers: Sequence[Reader] = ()


@dataclass(frozen=True, slots=True)
class _Letter:
    """A statement on its way, with its values. `new`: its text and their types, if the server is to learn it first."""

    prepared: _Prepared
    data: list[bytes | None]
    formats: list[int]
    new: tuple[bytes, tuple[int, ...]] | None


class PipelineDriver:
    """One server connection."""

    def __init__(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        self._outer = connection
        self._connection: psycopg.Connection[Any] = driver
        # What the server knows; it goes with the connection.
        self._known: dict[_Key, _Prepared] = connection.info.setdefault(_KNOWN, {})

    @property
    def begun(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.pgconn.transaction_status != TransactionStatus.IDLE

    def run(self, calls: Sequence[tuple[str, Values]], *, commit: bool) -> list[Answered]:
        """Send these, with a BEGIN before them if need be, and take every answer. Raises: DBAPIError."""
        try:
            return self._run(calls, commit=commit)
        except psycopg.Error as error:
            raise wrapped(self._outer, self._connection, error) from error

    def _run(self, calls: Sequence[tuple[str, Values]], *, commit: bool) -> list[Answered]:
        if not self._known:
            self._be_alone()
        news: dict[_Key, _Prepared] = {}
        letters = [self._letter(text, values, news) for text, values in calls]
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            places = self._send(letters, commit=commit)
            results = list(self._results())
        except BaseException:
            # Answers may be under way still: whoever used it next would take them for his own.
            self._connection.close()
            raise
        pgconn.exit_pipeline_mode()
        for result in results:
            if result.status in _FAILED:
                raise psycopg.errors.error_from_result(result)
        self._known.update(news)
        return [
            self._read(letter.prepared, results[place]) for letter, place in zip(letters, places, strict=True)
        ]

    def _be_alone(self) -> None:
        """Have nobody else prepare statements here: after a rollback psycopg makes the server forget all there are."""
        driver = self._connection
        if driver.prepare_threshold is not None:
            driver.prepare_threshold = None
            driver.execute("SELECT")
            driver.rollback()  # By now it has none of its own, and will never have any again.

    def _letter(self, text: str, values: Values, news: dict[_Key, _Prepared]) -> _Letter:
        statement = _statement(text)
        dumped = [self._dumped(values[name]) for name in statement.names]
        key = (text, tuple([one[2] for one in dumped]))
        prepared = self._known.get(key) or news.get(key)
        new = None
        if prepared is None:
            prepared = news[key] = _Prepared(f"amends_{next(_numbers)}".encode())
            new = (statement.text, key[1])
        return _Letter(prepared, [one[0] for one in dumped], [one[1] for one in dumped], new)

    def _send(self, letters: Sequence[_Letter], *, commit: bool) -> list[int]:
        """Send all of it; which of the answers are those of the letters."""
        pgconn = self._connection.pgconn
        places: list[int] = []
        sent = 0
        if pgconn.transaction_status == TransactionStatus.IDLE:
            pgconn.send_query_params(BEGIN.sql.encode(), None)
            sent += 1
        for letter in letters:
            if letter.new is not None:
                # Only now: to learn a statement is to lock its tables, which is not to come before the others' rows.
                pgconn.send_prepare(letter.prepared.name, *letter.new)
                sent += 1
            pgconn.send_query_prepared(letter.prepared.name, letter.data, letter.formats)
            places.append(sent)
            sent += 1
        if commit:
            pgconn.send_query_params(COMMIT.sql.encode(), None)
        pgconn.pipeline_sync()
        return places

    def _results(self) -> Iterator[Any]:
        """The answer to each message, in their order."""
        pgconn = self._connection.pgconn
        ready = poll()
        ready.register(pgconn.socket, POLLIN | POLLOUT)
        while pgconn.flush():
            # It may be waiting for us to take answers before it takes more.
            if any(event & ~POLLOUT for _, event in ready.poll(WAIT_MS)):
                pgconn.consume_input()
        ready.modify(pgconn.socket, POLLIN)
        while True:
            while pgconn.is_busy():
                if ready.poll(WAIT_MS):
                    pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                return
            if result is not None:
                yield result
            elif pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")

    def _dumped(self, value: Any) -> Value:
        kind = type(value)
        dumper = _DUMPERS.get(kind)
        if dumper is not None:
            data = dumper.dump(value)
            return None if data is None else bytes(data), dumper.format, dumper.oid
        if value is None:
            return None, _TEXT, 0
        if kind is str:
            if "\x00" in value:
                raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
            return value.encode(), _TEXT, 0
        if kind is int:
            return b"%d" % value, _TEXT, _INT8
        if kind is UUID:
            return str(value).encode(), _TEXT, _UUID
        if kind is bytes:
            return value, _BINARY, _BYTEA
        foreign: Any = Transformer(self._connection).get_dumper(value, PyFormat.TEXT)
        dumped = foreign.dump(value)
        return None if dumped is None else bytes(dumped), foreign.format, foreign.oid

    def _read(self, prepared: _Prepared, result: Any) -> Answered:
        if result.status != ExecStatus.TUPLES_OK:
            return (), result.command_tuples or 0
        found = result.ntuples
        if not found:
            return (), 0
        width = range(result.nfields)
        if prepared.row is None:
            names = [(result.fname(place) or b"").decode() for place in width]
            prepared.row = _row(names)
            prepared.readers = [self._reader(result.ftype(place)) for place in width]
        value, make, readers = result.get_value, prepared.row, prepared.readers
        rows = [
            make(
                [
                    None if (data := value(number, place)) is None else read(data)
                    for place, read in enumerate(readers)
                ]
            )
            for number in range(found)
        ]
        return rows, found

    def _reader(self, type_: int) -> Reader:
        reader = _READERS.get(type_)
        if reader is not None:
            return reader
        loader = Transformer(self._connection).get_loader(type_, _TEXT)
        return lambda data: loader.load(data)


def _row(names: list[str]) -> Callable[[list[Any]], Any]:
    kind: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[list[Any]], Any] = kind._make
    return make


_DUMPERS: Final = {kind: dumper(kind) for kind, dumper in DUMPERS}
