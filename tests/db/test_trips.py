"""Several statements in one round trip: what they answer, what becomes of them when one fails, what is left open."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from amends.db.engines import transaction
from amends.db.trips import Statement, commit_with, one_trip, undecided

CREATE = "CREATE TABLE told (id int PRIMARY KEY, word text)"


@pytest.fixture
def sqlite(sqlite_database: Engine) -> Engine:
    """A SQLite file with the table."""
    with transaction(sqlite_database) as connection:
        connection.exec_driver_sql(CREATE)
    return sqlite_database


@pytest.fixture
def postgresql(participant_database: Engine) -> Engine:
    """A PostgreSQL database with the table."""
    with transaction(participant_database) as connection:
        connection.exec_driver_sql(CREATE)
    return participant_database


def insert(id_: int) -> Statement:
    """One row."""
    return Statement("INSERT INTO told VALUES (%(id)s, 'x') RETURNING id", {"id": id_})


def ids(engine: Engine) -> list[int]:
    """What stands."""
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT id FROM told ORDER BY id")).scalars())


def status(connection: Connection) -> int:
    """libpq's: 0 idle, 2 in a transaction, 3 in a failed one."""
    return int(connection.connection.driver_connection.pgconn.transaction_status)  # type: ignore[union-attr]


def test_each_statement_has_its_answer(postgresql: Engine) -> None:
    with transaction(postgresql) as connection:
        told = one_trip(
            connection,
            [
                insert(1),
                insert(2),
                Statement("SAVEPOINT s"),
                Statement("UPDATE told SET word = %(w)s", {"w": "y"}),
            ],
        )

        assert [one.rowcount for one in told] == [1, 1, -1, 2]
        assert [list(one.rows) for one in told] == [[(1,)], [(2,)], [], []]
        assert status(connection) == 2
        assert connection.in_transaction()

    assert ids(postgresql) == [1, 2]


def test_on_another_database_they_run_one_by_one(sqlite: Engine) -> None:
    with transaction(sqlite) as connection:
        told = one_trip(
            connection,
            [
                Statement("INSERT INTO told VALUES (:id, 'x') RETURNING id", {"id": 1}),
                Statement("SAVEPOINT s"),
            ],
        )

        assert (told[0].rows, told[1].rows) == ([(1,)], ())
        assert commit_with(connection, []) is None

    assert ids(sqlite) == [1]


def test_the_first_that_fails_is_told_and_the_rest_has_not_run(postgresql: Engine) -> None:
    with pytest.raises(IntegrityError), transaction(postgresql) as connection:
        one_trip(connection, [insert(1), insert(1), insert(2)])

    assert ids(postgresql) == []


def test_the_commit_goes_with_the_statements(postgresql: Engine) -> None:
    with transaction(postgresql) as connection:
        one_trip(connection, [insert(1)])

        told = commit_with(connection, [insert(2)])

        assert told is not None
        assert told[0].rows == [(2,)]
        assert status(connection) == 0
        assert not connection.in_transaction()

    assert ids(postgresql) == [1, 2]


def test_a_statement_that_fails_beside_the_commit_takes_all_with_it(postgresql: Engine) -> None:
    """The server passes over the COMMIT after an error in its pipeline. The outcome is known."""
    with pytest.raises(IntegrityError) as raised, transaction(postgresql) as connection:
        one_trip(connection, [insert(1)])
        commit_with(connection, [insert(2), insert(1)])

    assert not undecided(raised.value)
    assert ids(postgresql) == []


def test_a_transaction_that_has_failed_already_is_not_committed(postgresql: Engine) -> None:
    with pytest.raises(DBAPIError), transaction(postgresql) as connection:
        one_trip(connection, [insert(1)])
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("SELECT 1 / 0")

        assert commit_with(connection, [insert(2)]) is None
        connection.exec_driver_sql("SELECT 1")

    assert ids(postgresql) == []


def test_a_connection_that_broke_leaves_the_commit_undecided_and_is_not_used_again(
    postgresql: Engine,
) -> None:
    killed = Statement("SELECT pg_terminate_backend(pg_backend_pid()) WHERE %(yes)s", {"yes": True})
    with pytest.raises(DBAPIError) as raised, postgresql.connect() as connection:
        one_trip(connection, [insert(1)])
        commit_with(connection, [killed])

    assert undecided(raised.value)
    assert ids(postgresql) == []


def test_what_the_engine_does_at_each_begin_is_done(postgresql: Engine) -> None:
    """Guard: SQLAlchemy's own begin before ours, for the listeners of a service's engine."""
    heard = []
    event.listen(postgresql, "begin", lambda _: heard.append("begin"))
    event.listen(postgresql, "commit", lambda _: heard.append("commit"))

    with transaction(postgresql) as connection:
        one_trip(connection, [insert(1)])
        commit_with(connection, [insert(2)])

    assert heard == ["begin", "commit"]


def test_a_handler_finds_the_connection_as_ever(postgresql: Engine) -> None:
    """No pipeline is on between two trips, and the transaction is one that psycopg itself would have begun."""
    with transaction(postgresql) as connection:
        one_trip(connection, [insert(1)])
        driver = connection.connection.driver_connection

        assert driver is not None
        assert driver.pgconn.pipeline_status == 0
        assert not driver.autocommit
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
        assert connection.execute(text("SELECT count(*) FROM told")).scalar_one() == 1
