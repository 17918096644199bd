"""Engines and transactions: what is told apart when the database fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from amends.db.engines import database_url, open_engine, transaction
from amends.db.errors import CommitUnknown, StoreUnavailable, UnsupportedDatabase
from amends.db.private_postgres import PrivatePostgres
from tests.servers.proxy import COMMIT, Proxy, proxy_to
from tests.waiting import DEADLINE_S

_MAKE = text("CREATE TABLE kept (id int PRIMARY KEY)")
_PUT = text("INSERT INTO kept VALUES (:id)")
_COUNT = text("SELECT count(*) FROM kept")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    with transaction(engine) as connection:
        connection.execute(_MAKE)
    yield engine
    engine.dispose()


@pytest.fixture
def through(engine: Engine) -> Iterator[tuple[Proxy, Engine]]:
    """The same database by way of a proxy that can break."""
    with proxy_to(engine.url.render_as_string(hide_password=False)) as (proxy, url):
        other = open_engine(url, pool_max=2)
        yield proxy, other
        other.dispose()


def test_a_transaction_commits_at_its_end(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(_PUT, {"id": 1})

    assert _kept(engine) == 1


def test_any_exception_rolls_back_and_passes_through(engine: Engine) -> None:
    for error in (ValueError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)), transaction(engine) as connection:
            connection.execute(_PUT, {"id": 1})
            raise error

    assert _kept(engine) == 0


def test_a_database_that_cannot_be_reached_is_unavailable() -> None:
    engine = open_engine("postgresql+psycopg://someone:hush@127.0.0.1:1/nowhere")

    with (
        pytest.raises(StoreUnavailable, match=r"someone.*@127\.0\.0\.1:1/nowhere is away") as caught,
        transaction(engine),
    ):
        raise AssertionError("connected")

    assert not isinstance(caught.value, CommitUnknown)
    assert "hush" not in str(caught.value)


def test_a_connection_that_breaks_before_the_commit_is_unavailable_and_nothing_happened(
    through: tuple[Proxy, Engine], engine: Engine
) -> None:
    proxy, broken = through
    with pytest.raises(StoreUnavailable) as caught, transaction(broken) as connection:
        connection.execute(_PUT, {"id": 1})
        proxy.cut_all()
        connection.execute(_PUT, {"id": 2})

    assert not isinstance(caught.value, CommitUnknown)
    assert _kept(engine) == 0
    with transaction(broken) as connection:
        connection.execute(_PUT, {"id": 3})
    assert _kept(engine) == 1


@pytest.mark.parametrize("happened", [True, False])
def test_a_connection_that_breaks_during_the_commit_leaves_it_unknown(
    through: tuple[Proxy, Engine], engine: Engine, happened: bool
) -> None:
    # Guard: `CommitUnknown` in `transaction`; both outcomes look the same to us, and both are possible.
    proxy, broken = through
    with pytest.raises(CommitUnknown), transaction(broken) as connection:
        connection.execute(_PUT, {"id": 1})
        proxy.cut(COMMIT, forward=happened)

    assert _kept(engine) == int(happened)


def test_a_commit_the_server_refuses_is_no_unknown_commit(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("ALTER TABLE kept ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED"))
        connection.execute(text("ALTER TABLE kept DROP CONSTRAINT kept_pkey"))

    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(_PUT, {"id": 1})
        connection.execute(_PUT, {"id": 1})

    assert _kept(engine) == 0


def test_a_lock_timeout_and_a_deadlock_are_not_the_database_being_away(engine: Engine) -> None:
    with transaction(engine) as first:
        first.execute(text("LOCK TABLE kept"))
        with pytest.raises(OperationalError, match="lock timeout"), transaction(engine) as second:
            second.execute(text("SET LOCAL lock_timeout = '50ms'"))
            second.execute(_PUT, {"id": 1})


def test_a_server_that_was_killed_is_unavailable_until_it_is_back(private_postgres: PrivatePostgres) -> None:
    engine = open_engine(private_postgres.url())
    with transaction(engine) as connection:
        connection.execute(_MAKE)

    private_postgres.kill()

    for _ in range(2):
        with pytest.raises(StoreUnavailable), transaction(engine) as connection:
            connection.execute(_PUT, {"id": 1})
    private_postgres.start()
    with transaction(engine) as connection:
        connection.execute(_PUT, {"id": 1})
    assert _kept(engine) == 1
    engine.dispose()


def test_a_pool_without_a_free_connection_is_unavailable(database_url: str) -> None:
    engine = open_engine(database_url, pool_max=1, pool_wait_s=0.05)

    with transaction(engine), pytest.raises(StoreUnavailable, match="came free"), transaction(engine):
        raise AssertionError("connected")
    engine.dispose()


def test_a_transaction_reads_committed_data_and_has_limits(engine: Engine) -> None:
    with transaction(engine) as connection:
        shown = {
            name: connection.scalar(text(f"SHOW {name}"))
            for name in ("transaction_isolation", "statement_timeout", "lock_timeout", "application_name")
        }

    assert shown == {
        "transaction_isolation": "read committed",
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "application_name": "amends",
    }


def test_options_in_the_url_replace_our_limits(database_url: str) -> None:
    engine = open_engine(f"{database_url}?options=-c%20statement_timeout%3D7s")

    with transaction(engine) as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "7s"
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
    engine.dispose()


def test_sqlite_transactions_that_read_and_then_write_take_turns(tmp_path: Path) -> None:
    # Guard: BEGIN IMMEDIATE; with a plain BEGIN both read, and one fails with "database is locked" at its write.
    engine = open_engine(f"sqlite:///{tmp_path / 'file'}")
    with transaction(engine) as connection:
        connection.execute(_MAKE)

    def add_many() -> None:
        for _ in range(20):
            with transaction(engine) as connection:
                connection.execute(_PUT, {"id": connection.scalar(_COUNT)})

    threads = [Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert _kept(engine) == 80
    engine.dispose()


def test_sqlite_enforces_foreign_keys_and_writes_ahead(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'file'}")

    with transaction(engine) as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


def test_a_sqlite_statement_that_is_wrong_is_not_the_database_being_away(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'file'}")

    with pytest.raises(OperationalError, match="no such table"), transaction(engine) as connection:
        connection.execute(_COUNT)
    engine.dispose()


def test_a_sqlite_file_that_somebody_else_holds_too_long_is_unavailable(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'file'}?timeout=0.1")
    other = sqlite3.connect(tmp_path / "file", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreUnavailable, match="locked"), transaction(engine) as connection:
        connection.execute(_MAKE)
    other.close()
    engine.dispose()


@pytest.mark.parametrize("url", ["oracle://host/name", "postgresql+asyncpg://host/name", "nonsense", ""])
def test_another_url_is_refused_and_told_what_it_may_be(url: str) -> None:
    with pytest.raises(UnsupportedDatabase, match=r"postgresql\+psycopg://user:password@host:port/name"):
        open_engine(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_postgresql_means_the_same_driver(scheme: str) -> None:
    assert database_url(f"{scheme}://host/name").drivername == "postgresql+psycopg"


def _kept(engine: Engine) -> int:
    with transaction(engine) as connection:
        return int(connection.scalar(_COUNT) or 0)
