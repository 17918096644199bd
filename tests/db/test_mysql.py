"""The participant's tables on MySQL and MariaDB: as created, as migrated, back again, and interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from amends.db.engines import open_engine, transaction
from amends.db.errors import LeftoverRows, MigrationBusy, StoreUnavailable
from amends.db.migrate import downgrade, migrate, migration_lock
from amends.db.participant import create
from amends.db.schema import SCHEMAS, require_schema
from tests.outbox.rows import STORE, ids, message
from tests.servers.mariadb import MariaServer, PrivateMaria
from tests.waiting import eventually

_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable, column_default, collation_name, column_key, extra
FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2
"""
_INDEXES = """
SELECT table_name, index_name, seq_in_index, column_name, non_unique
FROM information_schema.statistics WHERE table_schema = database() ORDER BY 1, 2, 3
"""
_CHECKS = """
SELECT table_name, constraint_name, check_clause
FROM information_schema.check_constraints WHERE constraint_schema = database() ORDER BY 1, 2
"""


@pytest.fixture(params=["mysql", "mariadb"])
def empty(request: pytest.FixtureRequest, mariadb: MariaServer) -> Iterator[Engine]:
    """An empty database, by both names SQLAlchemy has for its kind."""
    url = mariadb.create_database()
    engine = open_engine(make_url(url).set(drivername=request.param))
    yield engine
    engine.dispose()
    mariadb.drop_database(url)


def shape(engine: Engine) -> list[Any]:
    with transaction(engine) as connection:
        return [
            tuple(row) for query in (_COLUMNS, _INDEXES, _CHECKS) for row in connection.execute(text(query))
        ]


def test_migrated_and_created_databases_are_alike(empty: Engine) -> None:
    create(empty)
    created = shape(empty)
    downgrade(empty, "participant", "base")
    assert not [row for row in shape(empty) if row[0] != "amends_version"]

    migrate(empty, "participant")

    assert shape(empty) == created
    require_schema(empty, "participant")


def test_a_migration_that_broke_off_is_begun_anew(empty: Engine) -> None:
    """Each table is committed by itself. Guards: `drop_leftovers` in 0001 and 0002."""
    with transaction(empty) as connection:
        connection.execute(text("CREATE TABLE amends_lock (name int)"))
        connection.execute(text("CREATE TABLE amends_barrier (saga_id int)"))
        connection.execute(text("CREATE TABLE amends_outbox_key (hash int)"))

    migrate(empty, "participant")

    require_schema(empty, "participant")


def row_put(engine: Engine) -> None:
    with transaction(engine) as connection:
        STORE.insert(connection, [message(key="a")])


def test_a_migration_that_broke_off_before_its_record_drops_no_rows(empty: Engine) -> None:
    """A service puts messages, and asks for no version. Guard: LeftoverRows; the mend it names works."""
    create(empty)
    row_put(empty)
    with transaction(empty) as connection:
        connection.execute(text("DELETE FROM amends_version"))

    with pytest.raises(LeftoverRows, match=r"rows in amends_outbox; nothing was dropped.*version_num '0001'"):
        migrate(empty, "participant")

    assert len(ids(empty)) == 1
    with transaction(empty) as connection:
        connection.execute(text("INSERT INTO amends_version VALUES ('0001')"))
    migrate(empty, "participant")
    require_schema(empty, "participant")
    assert len(ids(empty)) == 1


def test_locks_held_are_not_dropped(empty: Engine) -> None:
    """Guard: LeftoverRows in 0002."""
    create(empty)
    with transaction(empty) as connection:
        connection.execute(text("UPDATE amends_version SET version_num = '0001'"))
        connection.execute(
            text("INSERT INTO amends_lock VALUES ('n', '', 'saga', 'name', 'path', 1, 1, NULL)")
        )

    with pytest.raises(LeftoverRows, match=r"rows in amends_lock; .*version_num '0002'"):
        migrate(empty, "participant")

    with transaction(empty) as connection:
        assert connection.scalar(text("SELECT count(*) FROM amends_lock")) == 1


def test_a_row_that_is_just_being_committed_is_not_dropped(empty: Engine) -> None:
    """Guard: LOCK TABLES; without it the look finds nothing, and the drop waits for the commit."""
    create(empty)
    with transaction(empty) as connection:
        connection.execute(text("DELETE FROM amends_version"))
    ended: list[BaseException] = []

    def again() -> None:
        try:
            migrate(empty, "participant")
        except LeftoverRows as error:
            ended.append(error)

    waiting = text(
        "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND state LIKE '%metadata lock'"
    )
    thread = threading.Thread(target=again)
    with transaction(empty) as connection:
        STORE.insert(connection, [message()])
        thread.start()
        eventually(lambda: connection.scalar(waiting), what="the migration to wait for the row's transaction")
    thread.join()

    assert len(ended) == 1
    assert len(ids(empty)) == 1


def test_creating_begins_anew_where_it_broke_off(empty: Engine) -> None:
    """Guard: `drop_if_empty`; without it the index stays away."""
    create(empty)
    whole = shape(empty)
    with transaction(empty) as connection:
        connection.execute(text("DROP INDEX ix_amends_outbox_swept ON amends_outbox"))
        connection.execute(text("DROP TABLE amends_owner"))
        connection.execute(text("DROP TABLE amends_version"))

    create(empty)

    assert shape(empty) == whole


def test_creating_leaves_tables_with_rows_alone(empty: Engine) -> None:
    create(empty)
    with transaction(empty) as connection:
        connection.execute(text("INSERT INTO amends_owner (id, label) VALUES ('a', 'somebody')"))
        connection.execute(text("DROP TABLE amends_version"))

    create(empty)

    with transaction(empty) as connection:
        assert connection.scalar(text("SELECT label FROM amends_owner")) == "somebody"


def test_migrations_take_turns_in_one_database_alone(empty: Engine, mariadb: MariaServer) -> None:
    """Guard: the database's name in the lock's."""
    other_url = mariadb.create_database()
    other = open_engine(other_url)
    try:
        with migration_lock(empty, "participant"):
            create(other)
            with pytest.raises(MigrationBusy, match="SHOW PROCESSLIST"):
                migrate(empty, "participant", lock_wait_s=0.3)
        migrate(empty, "participant")
    finally:
        other.dispose()
        mariadb.drop_database(other_url)


def test_processes_that_migrate_at_once_take_turns(empty: Engine) -> None:
    done: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: done.append(migrate(empty, "participant").before)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    needs = SCHEMAS["participant"].needs
    assert sorted(done, key=str) == sorted([None, needs, needs], key=str)


def test_texts_are_told_apart_by_every_byte(empty: Engine) -> None:
    """By default `Charge` and `charge` would be one step there. Guard: the collation in TABLE_OPTIONS."""
    create(empty)
    insert = text(
        "INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls) "
        "VALUES ('a', :path, 'do', 1, 'done', true, false, '', 0)"
    )
    with transaction(empty) as connection:
        for path in ("charge", "Charge", "chargé"):
            connection.execute(insert, {"path": path})


def test_a_server_that_is_away_is_told_from_a_statement_that_is_wrong(private_mariadb: PrivateMaria) -> None:
    engine = open_engine(private_mariadb.url)
    with pytest.raises(StoreUnavailable, match="is away"), transaction(engine) as connection:
        connection.execute(text("SELECT 1"))
        private_mariadb.kill()
        connection.execute(text("SELECT 1"))
    with pytest.raises(StoreUnavailable), transaction(engine):
        raise AssertionError("there is no server")

    private_mariadb.start()

    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert connection.scalar(text("SELECT @@tx_isolation")) == "READ-COMMITTED"
        assert connection.scalar(text("SELECT @@innodb_lock_wait_timeout")) == 10
        assert connection.scalar(text("SELECT @@max_statement_time")) == 30
    engine.dispose()
