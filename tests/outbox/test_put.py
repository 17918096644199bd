"""`put` in whatever transaction the caller has: it shares its fate, and only inserts."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import psycopg
import psycopg2
import psycopg2.extras
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, create_async_engine
from sqlalchemy.orm import Session

from amends.db.engines import open_engine, transaction
from amends.outbox import aput, put
from amends.outbox.errors import MessageTooLarge, OutboxNotInstalled, UnsupportedSession
from tests.locks import waiting_locks
from tests.outbox.conftest import FIXTURES
from tests.outbox.opening import (
    Opened,
    connection,
    dbapi_url,
    psycopg2_connection,
    psycopg2_session,
    psycopg2_with_dict_rows,
    psycopg_connection,
    psycopg_with_dict_rows,
    pymysql_connect,
    pymysql_connection,
    pymysql_with_dict_rows,
    repeatable_session,
    scoped,
    session,
    sqlite3_connection,
)
from tests.outbox.rows import claimed, due_in_s, ids, message, one
from tests.waiting import eventually

KINDS: list[tuple[str, str, Opened]] = [
    ("postgresql", "session", session),
    ("postgresql", "scoped session", scoped),
    ("postgresql", "connection", connection),
    ("postgresql", "psycopg", psycopg_connection),
    ("postgresql", "psycopg with dict rows", psycopg_with_dict_rows),
    ("postgresql", "psycopg2", psycopg2_connection),
    ("postgresql", "psycopg2 with dict rows", psycopg2_with_dict_rows),
    ("postgresql", "psycopg2 session", psycopg2_session),
    ("mariadb", "session", session),
    ("mariadb", "connection", connection),
    ("mariadb", "repeatable session", repeatable_session),
    ("mariadb", "pymysql", pymysql_connection),
    ("mariadb", "pymysql with dict rows", pymysql_with_dict_rows),
    ("sqlite", "session", session),
    ("sqlite", "connection", connection),
    ("sqlite", "sqlite3", sqlite3_connection),
]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]} {kind[1]}")
def kind(request: pytest.FixtureRequest, postgres: object, mariadb: object) -> tuple[Engine, Opened]:
    """A database, and a way to open a transaction on it."""
    dialect, _, opened = request.param
    return request.getfixturevalue(FIXTURES[dialect]), opened


def test_a_message_is_stored_when_the_transaction_commits(kind: tuple[Engine, Opened]) -> None:
    database, opened = kind
    sent = message(
        1, correlation_id="c", reply_to="r", headers={"a": "b"}, expiration_ms=9, needs_receipt=True
    )

    with opened(database) as session_:
        row_id = put(session_, sent)
        session_.commit()

    row = one(database, row_id)
    assert (row.message_id, row.routing_key, row.type, row.body) == (
        sent.message_id,
        "t.queue",
        "test",
        sent.body,
    )
    assert (row.correlation_id, row.reply_to, row.headers, row.expiration_ms) == ("c", "r", '{"a":"b"}', 9)
    assert (row.needs_receipt, row.owner, row.ordering_key) == (True, None, None)
    assert claimed(database) == [row_id]


def test_a_message_is_gone_when_the_transaction_is_rolled_back(kind: tuple[Engine, Opened]) -> None:
    database, opened = kind

    with opened(database) as session_:
        put(session_, message())
        session_.rollback()

    assert ids(database) == []


def test_a_delayed_message_is_due_later(kind: tuple[Engine, Opened]) -> None:
    database, opened = kind

    with opened(database) as session_:
        row_id = put(session_, message(delay_s=90))
        session_.commit()

    assert due_in_s(database, row_id) == pytest.approx(90, abs=5)


def test_a_message_with_a_key_is_ordered(kind: tuple[Engine, Opened]) -> None:
    database, opened = kind

    with opened(database) as session_:
        first = put(session_, message(key="a"))
        put(session_, message(key="a"))
        session_.commit()

    assert claimed(database) == [first]


def test_a_message_that_is_too_large_is_refused_and_the_transaction_goes_on(
    kind: tuple[Engine, Opened],
) -> None:
    """O5. Guard: `check` in put, before any statement."""
    database, opened = kind

    with opened(database) as session_:
        with pytest.raises(MessageTooLarge, match="1,048,577 bytes"):
            put(session_, message(body=b"x" * 1_048_577))
        row_id = put(session_, message())
        session_.commit()

    assert ids(database) == [row_id]


def test_another_table_of_the_same_shape_may_be_named(kind: tuple[Engine, Opened]) -> None:
    database, opened = kind

    with (
        opened(database) as session_,
        pytest.raises(OutboxNotInstalled, match=r"other_outbox.*amends migrate"),
    ):
        put(session_, message(), table="other_outbox")


def test_a_message_put_in_a_savepoint_that_rolls_back_was_never_there(database: Engine) -> None:
    """O2: nothing is handed over from memory, so the outer commit publishes only what is stored."""
    with Session(database) as session_:
        kept = put(session_, message(1))
        with session_.begin_nested() as savepoint:
            put(session_, message(2))
            savepoint.rollback()
        session_.commit()

    assert ids(database) == [kept]


@pytest.mark.parametrize(
    ("dialect", "opened"),
    [
        ("postgresql", psycopg_connection),
        ("postgresql", psycopg2_connection),
        ("postgresql", psycopg2_session),
        ("mariadb", pymysql_connection),
        ("mariadb", session),
        ("mariadb", repeatable_session),
    ],
)
def test_puts_of_one_key_commit_in_the_order_of_their_ids(
    dialect: str, opened: Opened, request: pytest.FixtureRequest, postgres: object, mariadb: object
) -> None:
    """O6. Guard: the lock in `put`, a statement of its own before the id is drawn."""
    database: Engine = request.getfixturevalue(FIXTURES[dialect])
    commits: list[int] = []

    def put_and_commit() -> None:
        with opened(database) as other:
            row_id = put(other, message(2, key="a"))
            commits.append(row_id)
            other.commit()

    thread = threading.Thread(target=put_and_commit)
    with Session(database) as session_:
        first = put(session_, message(1, key="a"))
        thread.start()
        eventually(lambda: waiting_locks(database) == 1, what="the other put to wait for the key")
        commits.append(first)
        session_.commit()
    thread.join()

    assert commits == sorted(commits) == ids(database)


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])
def test_puts_of_different_keys_do_not_wait_for_each_other(
    dialect: str, request: pytest.FixtureRequest, postgres: object, mariadb: object
) -> None:
    database = request.getfixturevalue(FIXTURES[dialect])
    with Session(database) as first, Session(database) as second:
        put(first, message(key="a"))
        put(second, message(key="b"))
        second.commit()
        first.commit()

    assert len(claimed(database)) == 2


def test_a_key_that_is_put_leaves_nothing_but_the_message(mariadb_database: Engine) -> None:
    """Guard: HIDE_KEYS; else a row for every key there ever was would stay."""
    with Session(mariadb_database) as session_:
        for n in range(3):
            put(session_, message(n, key="a"))
        session_.commit()
        put(session_, message(3, key="b"))
        session_.commit()

    with mariadb_database.connect() as opened:
        assert opened.scalar(text("SELECT count(*) FROM amends_outbox_key")) == 0


@pytest.mark.parametrize("how", ["sqlalchemy", "psycopg", "psycopg2", "pymysql", "mariadb", "sqlite3"])
def test_a_connection_that_commits_by_itself_is_refused(
    how: str, participant_database: Engine, sqlite_database: Engine, mariadb_database: Engine
) -> None:
    """The message would not share the fate of what it tells of. Guard: each `AUTOCOMMIT`."""
    if how == "sqlalchemy":
        engine = participant_database.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as opened, pytest.raises(UnsupportedSession, match="begin a transaction"):
            put(opened, message())
    elif how == "mariadb":
        engine = mariadb_database.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as opened, pytest.raises(UnsupportedSession, match="begin a transaction"):
            put(opened, message())
    elif how == "psycopg2":
        two = psycopg2.connect(dbapi_url(participant_database))
        two.autocommit = True
        with pytest.raises(UnsupportedSession, match="begin a transaction"):
            put(two, message())
        with two.cursor() as cursor:
            cursor.execute("BEGIN")
            put(two, message())
            cursor.execute("COMMIT")
        two.close()
        assert len(ids(participant_database)) == 1
    elif how == "pymysql":
        my = pymysql_connect(mariadb_database, autocommit=True)
        with pytest.raises(UnsupportedSession, match="begin a transaction"):
            put(my, message())
        my.begin()
        put(my, message())
        my.rollback()
        assert ids(mariadb_database) == []
        my.begin()
        put(my, message())
        my.commit()
        my.close()
        assert len(ids(mariadb_database)) == 1
    elif how == "psycopg":
        with psycopg.connect(dbapi_url(participant_database), autocommit=True) as raw:
            with pytest.raises(UnsupportedSession, match="begin a transaction"):
                put(raw, message())
            with raw.transaction():
                put(raw, message())
        assert len(ids(participant_database)) == 1
    else:
        lite = sqlite3.connect(str(sqlite_database.url.database), isolation_level=None)
        with pytest.raises(UnsupportedSession, match="begin a transaction"):
            put(lite, message())
        lite.execute("BEGIN")
        put(lite, message())
        lite.commit()
        lite.close()
        assert len(ids(sqlite_database)) == 1


def test_something_else_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedSession, match=r"builtins\.dict; give it a SQLAlchemy Session"):
        put({}, message())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedSession, match="aput does not know"):
        asyncio.run(aput({}, message()))  # type: ignore[arg-type]


def test_an_asynchronous_session_given_to_put_is_told_the_way() -> None:
    session_ = AsyncSession()

    with pytest.raises(UnsupportedSession, match="await aput"):
        put(session_, message())  # type: ignore[arg-type]


def test_a_table_older_than_this_release_is_told_with_its_mend(database_url: str) -> None:
    engine = open_engine(database_url)
    with transaction(engine) as opened:
        opened.execute(text("CREATE TABLE amends_outbox (id bigserial PRIMARY KEY)"))

    with Session(engine) as session_, pytest.raises(OutboxNotInstalled, match="amends migrate"):
        put(session_, message())

    engine.dispose()


def test_other_errors_of_the_database_pass_through(participant_database: Engine) -> None:
    with Session(participant_database) as session_:
        with pytest.raises(DBAPIError):
            session_.execute(text("SELECT 1/0"))
        with pytest.raises(DBAPIError, match="current transaction is aborted"):
            put(session_, message())


def test_put_works_on_any_engine_and_leaves_no_prepared_statement(participant_database: Engine) -> None:
    """Behind PgBouncer in transaction mode the next statement may meet another server connection."""
    with psycopg.connect(dbapi_url(participant_database)) as raw:
        for n in range(10):
            put(raw, message(n, key="a"))
        prepared = raw.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()

    assert prepared == (0,)


def asynchronous(database: Engine) -> AsyncEngine:
    return create_async_engine(database.url)


def test_aput_works_in_an_async_session(participant_database: Engine) -> None:
    async def shop() -> tuple[int, int]:
        engine = asynchronous(participant_database)
        async with AsyncSession(engine) as session_, session_.begin():
            kept = await aput(session_, message(1, key="a"))
        registry = async_scoped_session(lambda: AsyncSession(engine), scopefunc=asyncio.current_task)
        scoped_ = await aput(registry, message(2))
        await registry.commit()
        await registry.remove()
        async with AsyncSession(engine) as session_:
            await aput(session_, message(3))
            await session_.rollback()
        await engine.dispose()
        return kept, scoped_

    assert list(asyncio.run(shop())) == ids(participant_database)


def test_aput_works_on_an_async_connection(participant_database: Engine) -> None:
    async def shop() -> int:
        engine = asynchronous(participant_database)
        async with engine.begin() as opened:
            row_id = await aput(opened, message(delay_s=90))
        await engine.dispose()
        return row_id

    row_id = asyncio.run(shop())

    assert due_in_s(participant_database, row_id) == pytest.approx(90, abs=5)


def test_aput_works_on_an_async_psycopg_connection(participant_database: Engine) -> None:
    async def shop() -> int:
        async with await psycopg.AsyncConnection.connect(dbapi_url(participant_database)) as opened:
            row_id = await aput(opened, message(key="a"))
            with pytest.raises(UnsupportedSession, match="await aput"):
                put(opened, message())  # type: ignore[arg-type]
            return row_id

    assert [asyncio.run(shop())] == ids(participant_database)


def test_aput_refuses_what_is_too_large(participant_database: Engine) -> None:
    with pytest.raises(MessageTooLarge):
        asyncio.run(aput(AsyncSession(), message(body=b"x" * 1_048_577)))


def test_put_on_an_unknown_database_says_which_are_known() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        opened.dialect.name = "oracle"
        with pytest.raises(UnsupportedSession, match="no outbox on oracle"):
            put(opened, message())
    engine.dispose()
