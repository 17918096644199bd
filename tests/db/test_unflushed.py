"""Transactions that nobody waits for the disk for, and looks that hold nothing, on an engine that others use too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from amends.db.engines import open_engine, transaction
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.db.pipelines import glance, unflushed
from amends.db.trips import Statement
from tests.db.kept import KEPT, MAKE, PUT, kept
from tests.servers.proxy import Proxy

FLUSHED = "SHOW synchronous_commit"
LOOK = Statement(KEPT, {})


def prepares_after(engine: Engine) -> int | None:
    """From how many runs of a statement on psycopg prepares it."""
    with engine.connect() as connection:
        threshold: int | None = connection.connection.driver_connection.prepare_threshold  # type: ignore[union-attr]
        return threshold


def test_it_is_not_flushed_and_the_next_transaction_is(engine: Engine) -> None:
    """Guard: SET LOCAL; what a service does next on this connection is as durable as it ever was."""
    with unflushed(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})
        inside = connection.exec_driver_sql(FLUSHED).scalar_one()
    with transaction(engine) as connection:
        afterwards = connection.exec_driver_sql(FLUSHED).scalar_one()

    assert (inside, afterwards) == ("off", "on")
    assert kept(engine) == [1]


def test_it_leaves_the_connection_as_its_users_know_it(engine: Engine) -> None:
    """Guard: TripDriver in `unflushed`; the coordinator's own driver keeps psycopg from preparing anything."""
    before = prepares_after(engine)

    with unflushed(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})
    glance(engine, LOOK)

    assert prepares_after(engine) == before is not None


def test_an_error_undoes_all_of_it(engine: Engine) -> None:
    with pytest.raises(IntegrityError), unflushed(engine) as connection:
        for number in (1, 2, 1):
            connection.exec_driver_sql(PUT, {"id": number})

    assert kept(engine) == []


def test_an_exception_of_ours_undoes_all_of_it(engine: Engine) -> None:
    with pytest.raises(ValueError, match="ours"), unflushed(engine) as connection:
        assert connection.exec_driver_sql(PUT, {"id": 1}).rowcount == 1
        raise ValueError("ours")

    assert kept(engine) == []


def test_a_connection_that_breaks_before_the_commit_is_unavailable(
    through: tuple[Proxy, Engine], engine: Engine
) -> None:
    proxy, broken = through
    with pytest.raises(StoreUnavailable) as caught, unflushed(broken) as connection:
        connection.exec_driver_sql(PUT, {"id": 1}).all()
        proxy.cut_all()
        connection.exec_driver_sql(PUT, {"id": 2}).all()

    assert not isinstance(caught.value, CommitUnknown)
    assert kept(engine) == []


def test_a_connection_that_breaks_with_the_commit_leaves_it_unknown(through: tuple[Proxy, Engine]) -> None:
    proxy, broken = through
    with pytest.raises(CommitUnknown), unflushed(broken) as connection:
        connection.exec_driver_sql(PUT, {"id": 1}).all()
        proxy.cut_all()


def test_after_a_break_the_other_connections_of_the_pool_are_made_anew(through: tuple[Proxy, Engine]) -> None:
    """A server that was restarted costs one error, not one for each connection. Guard: `_invalidate` in `wrapped`."""
    proxy, _ = through
    pooled = open_engine(through[1].url, pool_max=3)
    with pooled.connect() as one, pooled.connect() as two, pooled.connect() as three:
        assert [each.scalar(text("SELECT 1")) for each in (one, two, three)] == [1, 1, 1]
    proxy.cut_all()

    with pytest.raises(StoreUnavailable):
        glance(pooled, LOOK)

    with pooled.connect() as one, pooled.connect() as two, pooled.connect() as three:
        assert [each.scalar(text("SELECT 1")) for each in (one, two, three)] == [1, 1, 1]
    pooled.dispose()


def test_a_glance_tells_whether_there_is_anything_and_holds_nothing(engine: Engine) -> None:
    """Guard: the COMMIT in `transacted`; what is left to the pool's reset is a round trip more."""
    rolled_back: list[str] = []

    @event.listens_for(engine.pool, "checkin")
    def _on_checkin(dbapi_connection: Any, _record: object) -> None:
        rolled_back.append(dbapi_connection.info.transaction_status.name)

    @event.listens_for(engine.pool, "reset")
    def _on_reset(dbapi_connection: Any, _record: object, _state: object) -> None:
        rolled_back.append(dbapi_connection.info.transaction_status.name)

    assert not glance(engine, LOOK)
    with transaction(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})
    assert glance(engine, LOOK)

    assert set(rolled_back) == {"IDLE"}


def test_whoever_listens_to_statements_hears_of_them_as_of_any_others(engine: Engine) -> None:
    """A profiler in a service's engine. Guard: `can_pipeline`; told of an end without a beginning, it would raise."""
    began: list[str] = []
    took: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _before(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        began.append(statement)
        connection.info.setdefault("began", []).append(statement)

    @event.listens_for(engine, "after_cursor_execute")
    def _after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        took.append(connection.info["began"].pop())

    with unflushed(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})
        inside = connection.exec_driver_sql(FLUSHED).scalar_one()

    assert glance(engine, LOOK)
    assert inside == "off"
    assert began == took
    assert {PUT, KEPT} <= set(took)


def test_what_a_service_does_at_each_begin_is_done_before_a_look(engine: Engine) -> None:
    """Row level security, a search path. Guard: `begin` in `transacted`; a look without it would see other rows."""
    with transaction(engine) as connection:
        connection.exec_driver_sql("CREATE SCHEMA theirs")
        connection.exec_driver_sql("CREATE TABLE theirs.kept AS SELECT 1 AS id")

    @event.listens_for(engine, "begin")
    def _at_each_begin(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL search_path = theirs")

    assert glance(engine, LOOK)


def test_an_unflushed_transaction_is_told_as_one_commit(engine: Engine) -> None:
    """Guard: `commit` in Pipelined ends SQLAlchemy's transaction; else the pool tells of a rollback."""
    told: list[str] = []
    event.listen(engine, "commit", lambda _: told.append("commit"))
    event.listen(engine, "rollback", lambda _: told.append("rollback"))

    with unflushed(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})
    glance(engine, LOOK)

    assert told == ["commit", "commit"]
    assert kept(engine) == [1]


def test_on_sqlite_it_is_an_ordinary_transaction(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'kept.db'}")
    with unflushed(engine) as connection:
        connection.exec_driver_sql(MAKE)
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")

    assert kept(engine) == [1]
    engine.dispose()


def test_a_glance_that_fails_says_why_and_the_connection_is_fit_for_use(
    through: tuple[Proxy, Engine], engine: Engine
) -> None:
    proxy, broken = through
    with pytest.raises(ProgrammingError, match="nothing"):
        glance(broken, Statement("SELECT nothing FROM kept", {}))
    assert not glance(broken, LOOK)

    proxy.cut_all()

    with pytest.raises(StoreUnavailable):
        glance(broken, LOOK)
    assert not glance(broken, LOOK)
