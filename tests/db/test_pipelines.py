"""Statements that share their round trips: in order, all or nothing, and what is told apart when they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, ProgrammingError

from amends.db.engines import open_engine, transaction
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.db.pipelines import pipelined
from tests.db.kept import KEPT, MAKE, PUT, kept
from tests.servers.proxy import Proxy


def test_statements_wait_for_the_first_look_and_then_go_in_their_order(engine: Engine) -> None:
    """Guard: `_noted`; sent one by one, each of them would begin the transaction."""
    with pipelined(engine) as connection:
        put = [connection.exec_driver_sql(PUT, {"id": number}) for number in (2, 1)]
        found = connection.exec_driver_sql(KEPT)
        began_early = connection._driver.begun  # type: ignore[attr-defined]
        assert found.scalars().all() == [1, 2]  # type: ignore[attr-defined]
        assert [one.rowcount for one in put] == [1, 1]

    assert not began_early
    assert kept(engine) == [1, 2]


def test_what_nobody_looked_at_goes_with_the_commit(engine: Engine) -> None:
    with pipelined(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})

    assert kept(engine) == [1]


def test_any_exception_rolls_back_and_passes_through(engine: Engine) -> None:
    with pytest.raises(ValueError, match="ours"), pipelined(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1}).rowcount  # noqa: B018 - To look sends it.
        connection.exec_driver_sql(PUT, {"id": 2})
        raise ValueError("ours")

    assert kept(engine) == []


@pytest.mark.parametrize("looks", [True, False])
def test_an_error_undoes_all_of_it_and_leaves_the_connection_fit_for_use(engine: Engine, looks: bool) -> None:
    """Guard: the look for _FAILED in PipelineDriver.run; without it the COMMIT of a failed transaction passes."""
    with pytest.raises(IntegrityError), pipelined(engine) as connection:
        for number in (1, 2, 1, 3):
            last = connection.exec_driver_sql(PUT, {"id": number})
        if looks:
            last.all()

    with pipelined(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 5})
    assert kept(engine) == [5]


def test_what_psycopg_forgets_after_a_rollback_is_not_ours(engine: Engine) -> None:
    """Guard: `_be_alone`; without it psycopg's DEALLOCATE ALL takes our prepared statements with its own."""
    for _ in range(2):
        with pipelined(engine) as connection:
            connection.exec_driver_sql(KEPT).all()
        with pytest.raises(ProgrammingError), transaction(engine) as connection:
            for _ in range(8):  # psycopg prepares what it has met five times.
                connection.exec_driver_sql("SELECT %(it)s::int", {"it": 1})
            connection.exec_driver_sql("SELECT nothing")

    assert kept(engine) == []


def test_values_and_answers_have_their_types(engine: Engine) -> None:
    values: dict[str, Any] = {
        "n": 7,
        "f": 0.5,
        "t": "é'\\",
        "b": True,
        "raw": b"\x00\xff",
        "none": None,
        "l": [1, 2],
        "id": UUID(int=1),
    }
    select = """
        SELECT %(n)s::int AS n, %(f)s * interval '1 second' AS f, %(t)s::text AS t, %(b)s::bool AS b, %(raw)s AS raw,
            %(none)s::text AS nothing, %(l)s::int[] AS l, %(id)s::uuid AS id, 100 %% 7 AS rest, 1 AS "?"
    """
    with pipelined(engine) as connection:
        row = connection.exec_driver_sql(select, values).one()

    assert (row.n, row.t, row.b, row.raw, row.nothing, row.l, row.rest) == (
        7, values["t"], True, values["raw"], None, [1, 2], 2,
    )  # fmt: skip
    assert row.f.total_seconds() == 0.5
    assert row.id == str(UUID(int=1))


def test_a_connection_that_breaks_before_the_commit_is_unavailable_and_nothing_happened(
    through: tuple[Proxy, Engine], engine: Engine
) -> None:
    proxy, broken = through
    with pytest.raises(StoreUnavailable) as caught, pipelined(broken) as connection:
        connection.exec_driver_sql(PUT, {"id": 1}).all()
        proxy.cut_all()
        connection.exec_driver_sql(PUT, {"id": 2}).all()

    assert not isinstance(caught.value, CommitUnknown)
    assert kept(engine) == []


def test_a_connection_that_breaks_with_the_last_statements_leaves_the_commit_unknown(
    through: tuple[Proxy, Engine],
) -> None:
    """Guard: CommitUnknown in `pipelined`; what travels with the COMMIT may have been committed."""
    proxy, broken = through
    with pytest.raises(CommitUnknown), pipelined(broken) as connection:
        connection.exec_driver_sql(PUT, {"id": 1}).all()
        connection.exec_driver_sql(PUT, {"id": 2})
        proxy.cut_all()

    with pipelined(broken) as connection:
        connection.exec_driver_sql(KEPT).all()


def test_on_sqlite_it_is_an_ordinary_transaction(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'kept.db'}")
    with pipelined(engine) as connection:
        connection.exec_driver_sql(MAKE)
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")

    assert kept(engine) == [1]
    engine.dispose()
