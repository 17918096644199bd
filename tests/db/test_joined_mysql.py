"""amends' tables in a service's own Alembic history on MySQL and MariaDB, where its replicas migrate at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, create_engine, text

from amends.db.engines import open_engine, transaction
from amends.db.errors import LeftoverRows, MigrationBusy
from amends.db.migrate import migrate, migration_lock
from amends.db.participant import create, downgrade, upgrade
from amends.db.schema import SCHEMAS, require_schema
from tests.outbox.rows import ids, message, stored
from tests.servers.mariadb import MariaServer

NEEDS = SCHEMAS["participant"].needs


@pytest.fixture
def engine(mariadb: MariaServer) -> Iterator[Engine]:
    url = mariadb.create_database()
    opened = open_engine(url)
    yield opened
    opened.dispose()
    mariadb.drop_database(url)


@pytest.fixture
def replica(engine: Engine) -> Iterator[Connection]:
    """A connection as a service has it that sets nothing: REPEATABLE READ."""
    opened = create_engine(engine.url)
    with opened.connect() as connection:
        yield connection
    opened.dispose()


def upgraded(connection: Connection) -> None:
    """As in a revision of the service's."""
    with Operations.context(MigrationContext.configure(connection)) as op:
        upgrade(op, to=NEEDS)


def test_of_two_replicas_one_is_told_that_the_other_migrates(engine: Engine, replica: Connection) -> None:
    """Guard: GET_LOCK in `_turn`, the lock of `amends migrate`."""
    with migration_lock(engine, "participant"), pytest.raises(MigrationBusy, match="SHOW PROCESSLIST"):
        upgraded(replica)

    upgraded(replica)
    require_schema(engine, "participant")


def test_a_replica_lets_go_once_its_work_is_committed(engine: Engine, replica: Connection) -> None:
    """It may keep the session. Guards: RELEASE_LOCK, and the COMMIT before it, without which the record is not seen."""
    upgraded(replica)

    assert migrate(engine, "participant", lock_wait_s=0).before == NEEDS

    with Operations.context(MigrationContext.configure(replica)) as op:
        downgrade(op)
    assert migrate(engine, "participant", lock_wait_s=0).before is None


def test_what_another_replica_made_meanwhile_is_seen(engine: Engine, replica: Connection) -> None:
    """Guard: the COMMIT after GET_LOCK; else this transaction looks at the database as it was before."""
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE service_version (number int)"))
        connection.execute(text("CREATE TABLE amends_version (version_num varchar(32) PRIMARY KEY)"))
    replica.execute(text("SELECT * FROM service_version")).all()
    migrate(engine, "participant")
    stored(engine, [message()])

    upgraded(replica)

    require_schema(engine, "participant")
    assert len(ids(engine)) == 1


def test_rows_in_tables_that_no_record_tells_of_are_kept(engine: Engine, replica: Connection) -> None:
    """Guards: LeftoverRows; UNLOCK TABLES and RELEASE_LOCK after it, else nobody could mend it."""
    create(engine)
    stored(engine, [message()])
    with transaction(engine) as connection:
        connection.execute(text("DROP TABLE amends_version"))

    with pytest.raises(LeftoverRows, match="rows in amends_outbox"):
        upgraded(replica)

    assert len(ids(engine)) == 1
    with transaction(engine) as connection:
        connection.execute(text("INSERT INTO amends_version VALUES ('0001')"))
    assert migrate(engine, "participant", lock_wait_s=0).after == NEEDS
    assert len(ids(engine)) == 1
