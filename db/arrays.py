"""Columns of a batch, as PostgreSQL arrays.

psycopg dumps a list value by value, looking at each for its type, its quotes and its escapes: that is most of what a
batch of some hundred rows costs its client. A list of one of these kinds says what it holds, and goes as a whole on the
connections of `open_engine`. On any other connection it is a list like any other.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Plain(list[T]):
    """Numbers, flags, ids, names: short values. The statement says of which type the array is (`%(id)s::uuid[]`)."""

    __slots__ = ()


class Texts(list[str | None]):
    """JSON and other long texts, as `text[]`."""

    __slots__ = ()


class Blobs(list[bytes]):
    """Bytes, as `bytea[]`."""

    __slots__ = ()


class Ints(list[int | None]):
    """Numbers, as `bigint[]`."""

    __slots__ = ()


class Floats(list[float]):
    """Numbers, as `float8[]`."""

    __slots__ = ()


class Flags(list[bool]):
    """Truth values, as `boolean[]`."""

    __slots__ = ()
