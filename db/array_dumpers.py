"""How the lists of `arrays.py` go to the server: text form where values are joined, binary form where they are long."""

from __future__ import annotations

from struct import Struct, pack
from typing import Any, ClassVar, Final

from psycopg import DataError
from psycopg.adapt import Dumper
from psycopg.pq import Format

from amends.db.arrays import Blobs, Flags, Floats, Ints, Plain, Texts

_NULL: Final = b"\xff\xff\xff\xff"
_LENGTH: Final = Struct("!i").pack
_HEAD: Final = Struct("!iiIii").pack  # dimensions, whether there are nulls, element type, length, lower bound

_BOOL, _BYTEA, _INT8, _TEXT, _FLOAT8 = 16, 17, 20, 25, 701


class PlainDumper(Dumper):
    """`{"a","b",NULL}`: of no type until the statement casts it."""

    oid = 0

    def dump(self, obj: list[Any]) -> bytes:
        """The array's literal. Raises: DataError for what PostgreSQL cannot hold."""
        if not obj:
            return b"{}"
        if not isinstance(next((one for one in obj if one is not None), None), str):
            return ("{" + repr(obj)[1:-1].replace("None", "NULL") + "}").encode()
        try:
            text = '{"' + '","'.join(obj) + '"}'
            quotes = 2 * len(obj)
        except TypeError:
            text = "{" + ",".join(["NULL" if one is None else f'"{one}"' for one in obj]) + "}"
            quotes = 2 * sum(one is not None for one in obj)
        if "\\" in text or text.count('"') != quotes:
            text = "{" + ",".join("NULL" if one is None else _quoted(one) for one in obj) + "}"
        if "\x00" in text:
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return text.encode()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Binary(Dumper):
    format = Format.BINARY
    element: ClassVar[int]

    def _array(self, obj: list[Any], data: bytes, *, nulls: bool) -> bytes:
        return _HEAD(1, nulls, self.element, len(obj), 1) + data if obj else pack("!iiI", 0, 0, self.element)


class TextsDumper(_Binary):
    """`text[]`."""

    oid = 1009
    element = _TEXT

    def dump(self, obj: list[str | None]) -> bytes:
        """The array as it travels."""
        if None in obj:
            data = b"".join([_NULL if one is None else _counted(one.encode()) for one in obj])
            return self._array(obj, data, nulls=True)
        # Known to be there: what is None was looked for.
        encoded = [one.encode() for one in obj]  # type: ignore[union-attr]
        return self._array(obj, b"".join([_LENGTH(len(one)) + one for one in encoded]), nulls=False)


class BlobsDumper(_Binary):
    """`bytea[]`."""

    oid = 1001
    element = _BYTEA

    def dump(self, obj: list[bytes]) -> bytes:
        """The array as it travels."""
        return self._array(obj, b"".join([_LENGTH(len(one)) + one for one in obj]), nulls=False)


class IntsDumper(_Binary):
    """`bigint[]`."""

    oid = 1016
    element = _INT8

    def dump(self, obj: list[int | None]) -> bytes:
        """The array as it travels."""
        nulls = None in obj
        number = Struct("!iq").pack
        data = b"".join([_NULL if one is None else number(8, one) for one in obj])
        return self._array(obj, data, nulls=nulls)


class FloatsDumper(_Binary):
    """`float8[]`."""

    oid = 1022
    element = _FLOAT8

    def dump(self, obj: list[float]) -> bytes:
        """The array as it travels."""
        number = Struct("!id").pack
        return self._array(obj, b"".join([number(8, one) for one in obj]), nulls=False)


class FlagsDumper(_Binary):
    """`boolean[]`."""

    oid = 1000
    element = _BOOL

    def dump(self, obj: list[bool]) -> bytes:
        """The array as it travels."""
        return self._array(
            obj, b"".join([b"\0\0\0\1\1" if one else b"\0\0\0\1\0" for one in obj]), nulls=False
        )


def _counted(data: bytes) -> bytes:
    return _LENGTH(len(data)) + data


DUMPERS: Final[tuple[tuple[type[list[Any]], type[Dumper]], ...]] = (
    (Plain, PlainDumper),
    (Texts, TextsDumper),
    (Blobs, BlobsDumper),
    (Ints, IntsDumper),
    (Floats, FloatsDumper),
    (Flags, FlagsDumper),
)


def install(connection: Any) -> None:
    """Let a psycopg connection, which speaks UTF-8, send these lists as a whole."""
    for kind, dumper in DUMPERS:
        connection.adapters.register_dumper(kind, dumper)
