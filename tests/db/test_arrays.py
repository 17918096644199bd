"""Lists that travel as a whole arrive as they were, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from amends.db.arrays import Blobs, Flags, Floats, Ints, Plain, Texts
from amends.db.engines import open_engine, transaction
from amends.db.pipelines import pipelined

AWKWARD = ['"', "\\", '\\"', "{}", "a,b", " ", "", "NULL", "null", "é✓", "'", "$1", "%s", "\x01", "\n"]

CASES: list[tuple[Any, str]] = [
    (Plain(AWKWARD), "text[]"),
    (Plain([None, *AWKWARD, None]), "text[]"),
    (Plain(["plain", "words"]), "text[]"),
    (Plain([1, None, -3]), "bigint[]"),
    (Plain([None, None]), "int[]"),
    (Plain([True, False, None]), "bool[]"),
    (Plain([]), "text[]"),
    (Texts(AWKWARD), "text[]"),
    (Texts([None, *AWKWARD]), "text[]"),
    (Texts([]), "text[]"),
    (Blobs([b"", b"\x00\xff", b'"\\']), "bytea[]"),
    (Ints([2**62, -1, 0]), "bigint[]"),
    (Ints([None, 7]), "bigint[]"),
    (Ints([]), "bigint[]"),
    (Floats([0.1, -2.5e300]), "float8[]"),
    (Flags([True, False]), "boolean[]"),
]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(("values", "kind"), CASES)
@pytest.mark.parametrize("way", [transaction, pipelined])
def test_what_is_sent_arrives_as_it_was(engine: Engine, values: Any, kind: str, way: Any) -> None:
    """Guards: `_quoted`, the count of quotes, and `nulls`, in array_dumpers."""
    with way(engine) as connection:
        for format_ in "sb" if not isinstance(values, Plain) else "s":
            row = connection.exec_driver_sql(f"SELECT %(it){format_}::{kind} AS it", {"it": values}).one()
            assert row.it == list(values)


@pytest.mark.parametrize("kind", [Plain, Texts])
@pytest.mark.parametrize("way", [transaction, pipelined])
def test_a_nul_is_refused_and_cuts_nothing_off(engine: Engine, kind: Any, way: Any) -> None:
    """Guard: the look for NUL in PlainDumper; without it the array ends there."""
    with pytest.raises(Exception, match=r"NUL|0x00"), way(engine) as connection:
        connection.exec_driver_sql("SELECT %(it)s::text[]", {"it": kind(["a\x00", "b"])}).all()


def test_on_a_connection_of_somebody_elses_it_is_a_list(engine: Engine) -> None:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        for values, kind in CASES:
            row = connection.execute(f"SELECT %(it)s::{kind}", {"it": values}).fetchone()  # type: ignore[arg-type]
            assert row == (list(values),)
