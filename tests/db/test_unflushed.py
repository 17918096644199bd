"""Transactions that nobody waits for the disk for, and looks that hold nothing, on an engine that others use too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, ProgrammingError

from amends.db.engines import open_engine, transaction
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.db.pipelines import glance, unflushed
from tests.servers.proxy import Proxy, proxy_to

MAKE = "CREATE TABLE kept (id int PRIMARY KEY)"
PUT = "INSERT INTO kept VALUES (%(id)s)"
KEPT = "SELECT id FROM kept ORDER BY id"
FLUSHED = "SHOW synchronous_commit"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """With one connection, so that what is left on it is met again."""
    engine = open_engine(database_url, pool_max=1)
    with transaction(engine) as connection:
        connection.exec_driver_sql(MAKE)
    yield engine
    engine.dispose()


@pytest.fixture
def through(engine: Engine) -> Iterator[tuple[Proxy, Engine]]:
    """The same database by way of a proxy that can break."""
    with proxy_to(engine.url.render_as_string(hide_password=False)) as (proxy, url):
        other = open_engine(url, pool_max=1)
        yield proxy, other
        other.dispose()


def kept(engine: Engine) -> list[int]:
    with transaction(engine) as connection:
        return list(connection.exec_driver_sql(KEPT).scalars())


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
    glance(engine, KEPT)

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


def test_a_glance_tells_whether_there_is_anything_and_holds_nothing(engine: Engine) -> None:
    """Guard: the COMMIT in `whole`; an open transaction would hold back every vacuum."""
    assert not glance(engine, KEPT)
    with transaction(engine) as connection:
        connection.exec_driver_sql(PUT, {"id": 1})

    assert glance(engine, KEPT)

    with engine.connect() as connection:
        status = connection.connection.driver_connection.info.transaction_status.name  # type: ignore[union-attr]
    assert status == "IDLE"


def test_a_glance_that_fails_says_why_and_the_connection_is_fit_for_use(
    through: tuple[Proxy, Engine], engine: Engine
) -> None:
    proxy, broken = through
    with pytest.raises(ProgrammingError, match="nothing"):
        glance(broken, "SELECT nothing FROM kept")
    assert not glance(broken, KEPT)

    proxy.cut_all()

    with pytest.raises(StoreUnavailable):
        glance(broken, KEPT)
    assert not glance(broken, KEPT)
