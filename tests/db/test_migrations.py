"""Migrations: what they make is what the code expects, down and up again, also when many start at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from amends.db.engines import open_engine, transaction
from amends.db.errors import MigrationBusy, SchemaOutdated
from amends.db.migrate import alembic_config, downgrade, migrate, migration_lock
from amends.db.participant import create, include_object
from amends.db.schema import SCHEMAS, Which, require_schema, revision
from tests.waiting import DEADLINE_S, eventually

BOTH: tuple[Which, ...] = ("coordinator", "participant")

# What autovacuum and fillfactor are told, by table.
_STORAGE = text(
    "SELECT relname, array_to_string(reloptions, ',') FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('amends', 'public') ORDER BY 1"
)

_CONNECTIONS = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :label")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with _opened(database_url) as engine:
        yield engine


@contextmanager
def _opened(url: str, label: str = "amends") -> Iterator[Engine]:
    engine = open_engine(url, label=label)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.mark.parametrize("which", BOTH)
def test_the_migrated_schema_is_the_one_the_tables_describe(engine: Engine, which: Which) -> None:
    schema = SCHEMAS[which]

    migrate(engine, which)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "compare_type": True,
                "compare_server_default": True,
                "include_object": lambda _object, name, kind, *_: (
                    kind != "table" or name != schema.version.name
                ),
            },
        )
        assert compare_metadata(context, schema.metadata) == []


@pytest.mark.parametrize("which", BOTH)
def test_migrated_and_created_tables_have_the_same_constraints_indexes_and_storage(
    engine: Engine, which: Which, postgres: object
) -> None:
    migrate(engine, which)
    migrated = _description(engine)
    downgrade(engine, which, "base")

    with transaction(engine) as connection:
        SCHEMAS[which].metadata.create_all(connection)

    created = _description(engine)
    assert created == migrated
    assert any("autovacuum_vacuum_threshold" in str(line) for line in created)


@pytest.mark.parametrize("which", BOTH)
def test_it_goes_down_to_nothing_and_up_again(engine: Engine, which: Which) -> None:
    schema = SCHEMAS[which]
    up = migrate(engine, which)
    assert (up.before, up.after) == (None, schema.needs)

    down = downgrade(engine, which, "base")

    assert (down.before, down.after) == (schema.needs, None)
    left = inspect(engine).get_table_names(schema=schema.version.schema)
    assert left == [schema.version.name]
    assert migrate(engine, which).after == schema.needs
    require_schema(engine, which)


def test_on_sqlite_it_goes_down_to_nothing_and_up_again(tmp_path: Path) -> None:
    with _opened(f"sqlite:///{tmp_path / 'service.sqlite'}") as engine:
        migrate(engine, "participant")
        require_schema(engine, "participant")

        downgrade(engine, "participant", "base")

        assert inspect(engine).get_table_names() == ["amends_version"]
        assert migrate(engine, "participant").after == SCHEMAS["participant"].needs


@pytest.mark.parametrize("which", BOTH)
def test_the_code_knows_the_newest_revision(which: Which) -> None:
    script = ScriptDirectory.from_config(alembic_config(which))

    assert script.get_current_head() == SCHEMAS[which].needs
    assert all(str(found.revision).isdigit() for found in script.walk_revisions())


_MIGRATE = """
from amends.db.migrate import migrate
def act(engine, which):
    return migrate(engine, which).before
"""


@pytest.mark.parametrize("which", BOTH)
def test_of_ten_processes_that_migrate_at_once_one_does_it(database_url: str, which: Which) -> None:
    # Guard: `migration_lock` in `migrate`; without it some of the ten fail with "already exists".
    said = _ten_at_once(_MIGRATE, database_url, which)

    assert sorted(said) == [SCHEMAS[which].needs] * 9 + ["None"]


def test_of_ten_processes_that_migrate_a_sqlite_file_at_once_one_does_it(tmp_path: Path) -> None:
    said = _ten_at_once(_MIGRATE, f"sqlite:///{tmp_path / 'service.sqlite'}", "participant")

    assert len(said) == 10


_CREATE = """
from amends.db.participant import create
def act(engine, which):
    return create(engine)
"""


def test_ten_services_may_create_their_tables_at_once(database_url: str, tmp_path: Path) -> None:
    for url in (database_url, f"sqlite:///{tmp_path / 'service.sqlite'}"):
        assert _ten_at_once(_CREATE, url, "participant") == ["None"] * 10
        with _opened(url) as engine:
            require_schema(engine, "participant")


def test_a_migration_that_builds_an_index_concurrently_does_not_deadlock_with_one_that_waits(
    engine: Engine, database_url: str
) -> None:
    # Guard: AUTOCOMMIT in `migration_lock`; inside a transaction, the index would wait for the waiter, and it for us.
    migrate(engine, "participant")
    with _opened(database_url, label="waiting") as waiting:
        waiter = Thread(target=migrate, args=(waiting, "participant"))
        with migration_lock(engine, "participant"):
            waiter.start()
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                eventually(
                    lambda: connection.scalar(_CONNECTIONS, {"label": "waiting"}), what="the other to wait"
                )
                connection.execute(text("SET statement_timeout = '5s'"))
                connection.execute(text("CREATE INDEX CONCURRENTLY ix_new ON amends_barrier (round)"))
        waiter.join(DEADLINE_S)
        assert not waiter.is_alive()


def test_who_waits_too_long_for_another_migration_is_told(engine: Engine, database_url: str) -> None:
    with (
        _opened(database_url) as late,
        migration_lock(engine, "coordinator"),
        pytest.raises(MigrationBusy, match="run amends migrate again"),
        migration_lock(late, "coordinator", 0.2),
    ):
        raise AssertionError("two hold the lock")


@pytest.mark.parametrize("which", BOTH)
def test_a_process_refuses_an_empty_or_older_schema_and_names_the_command(
    engine: Engine, which: Which
) -> None:
    with pytest.raises(SchemaOutdated, match=f"no amends tables yet; run: {SCHEMAS[which].command}"):
        require_schema(engine, which)
    migrate(engine, which)
    _set_revision(engine, which, "0000")

    with pytest.raises(SchemaOutdated, match=f"older than .*; run: {SCHEMAS[which].command}"):
        require_schema(engine, which)
    if which == "participant":
        with pytest.raises(SchemaOutdated, match="amends migrate --participant"):
            create(engine)


@pytest.mark.parametrize("which", BOTH)
def test_a_process_of_the_older_release_runs_on_the_newer_schema(engine: Engine, which: Which) -> None:
    migrate(engine, which)
    _set_revision(engine, which, "0099")

    require_schema(engine, which)
    assert migrate(engine, which).after == "0099"


def test_creating_twice_and_migrating_afterwards_changes_nothing(engine: Engine) -> None:
    create(engine)
    before = _description(engine)

    create(engine)
    migrated = migrate(engine, "participant")

    assert (migrated.before, migrated.after) == (SCHEMAS["participant"].needs,) * 2
    assert _description(engine) == before


def test_a_services_own_autogenerate_does_not_see_our_tables(engine: Engine) -> None:
    create(engine)
    with engine.connect() as connection:
        from sqlalchemy import MetaData

        proposed = compare_metadata(
            MigrationContext.configure(connection, opts={"include_object": include_object}), MetaData()
        )

    assert proposed == []


def test_the_barrier_on_sqlite_keeps_its_constraints(sqlite_database: Engine) -> None:
    with (
        pytest.raises(Exception, match="ck_amends_barrier_outcome") as caught,
        transaction(sqlite_database) as connection,
    ):
        connection.exec_driver_sql(
            "INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls)"
            " VALUES ('a', 'b', 'undo', 0, 'refused', 1, 0, '', 0)"
        )
    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)


def _set_revision(engine: Engine, which: Which, number: str) -> None:
    with transaction(engine) as connection:
        connection.execute(SCHEMAS[which].version.update().values(version_num=number))
        assert revision(connection, which) == number


def _description(engine: Engine) -> list[object]:
    found: list[object] = []
    for schema in ("amends", "public"):
        seen = inspect(engine)
        for table in sorted(seen.get_table_names(schema=schema)):
            if not table.endswith("version"):
                checks = seen.get_check_constraints(table, schema=schema)
                found.append((table, sorted((check["name"], check["sqltext"]) for check in checks)))
                found.append(sorted(str(index) for index in seen.get_indexes(table, schema=schema)))
    with engine.connect() as connection:
        found.extend(tuple(row) for row in connection.execute(_STORAGE) if "version" not in row[0])
    return found


_TEN = """
import os, sys
import alembic.command, psycopg
from amends.db.engines import open_engine
children = []
gate_r, gate_w = os.pipe()
for _ in range(10):
    child = os.fork()
    if child == 0:
        os.close(gate_w)
        os.read(gate_r, 1)
        os.write(1, f"{act(open_engine(sys.argv[1]), sys.argv[2])}\\n".encode())
        os._exit(0)
    children.append(child)
os.close(gate_w)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)
"""


def _ten_at_once(program: str, url: str, which: Which) -> list[str]:
    """What `act` returned in each of ten processes that began in the same moment."""
    ended = subprocess.run(
        [sys.executable, "-c", program + _TEN, url, which],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()
