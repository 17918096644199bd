"""amends' tables in a service's own Alembic history: up, down, offline, and autogenerate finds nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect

from amends.db.engines import open_engine
from amends.db.errors import MigrationBusy, UnknownRevision
from amends.db.migrate import downgrade, migrate, migration_lock
from amends.db.mysql import is_mysql
from amends.db.participant import create, include_object
from amends.db.schema import SCHEMAS, require_schema
from tests.servers.mariadb import MariaServer

NEEDS = SCHEMAS["participant"].needs
OURS = {"amends_barrier", "amends_lock", "amends_outbox", "amends_owner", "amends_version"}

ENV = dedent("""
    from alembic import context
    from amends.db import participant

    options = {"include_object": participant.include_object, "version_table": "shop_version"}
    connection = context.config.attributes.get("connection")
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
    else:
        context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()
""")
REVISION = dedent("""
    import sqlalchemy as sa
    from alembic import op
    from amends.db import participant

    revision = "{name}"
    down_revision = {after!r}


    def upgrade():
        {up}


    def downgrade():
        {down}
""")


class History:
    """A service's Alembic folder with a table of its own, then amends' tables."""

    def __init__(self, folder: Path, engine: Engine, to: str = NEEDS) -> None:
        self._engine = engine
        self.config = Config(output_buffer=StringIO())
        self.config.set_main_option("script_location", str(folder))
        (folder / "versions").mkdir()
        (folder / "env.py").write_text(ENV)
        self._add(
            folder,
            "a1",
            None,
            'op.create_table("shop", sa.Column("id", sa.Integer))',
            'op.drop_table("shop")',
        )
        self._add(folder, "b2", "a1", f'participant.upgrade(op, to="{to}")', "participant.downgrade(op)")

    @staticmethod
    def _add(folder: Path, name: str, after: str | None, up: str, down: str) -> None:
        (folder / "versions" / f"{name}.py").write_text(
            REVISION.format(name=name, after=after, up=up, down=down)
        )

    def go(self, target: str) -> None:
        """Up or down to this revision of the service's."""
        with self._engine.connect() as connection:
            self.config.attributes["connection"] = connection
            direction = command.downgrade if target in ("a1", "base") else command.upgrade
            direction(self.config, target)

    def tables(self) -> set[str]:
        """What is in the database."""
        return set(inspect(self._engine).get_table_names())


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def engine(request: pytest.FixtureRequest, mariadb: MariaServer, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "mariadb":
        url = mariadb.create_database()
        opened = open_engine(url)
        yield opened
        opened.dispose()
        mariadb.drop_database(url)
        return
    if request.param == "sqlite":
        opened = open_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    else:
        opened = open_engine(request.getfixturevalue("database_url"))
    yield opened
    opened.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "migrations"
    made.mkdir()
    return made


def test_a_services_history_carries_our_tables_up_and_down(engine: Engine, folder: Path) -> None:
    history = History(folder, engine)

    history.go("head")

    require_schema(engine, "participant")
    keys = {"amends_outbox_key"} if is_mysql(engine.dialect.name) else set()
    assert history.tables() == {"shop", "shop_version", *OURS, *keys}

    history.go("a1")

    assert history.tables() == {"shop", "shop_version"}
    history.go("head")
    require_schema(engine, "participant")


def test_autogenerate_finds_nothing_to_do_afterwards(engine: Engine, folder: Path) -> None:
    """Guard: `include_object`; without it the service's next revision would drop our tables."""
    History(folder, engine).go("head")
    theirs = MetaData()
    theirs.reflect(engine, only=["shop"])

    def proposed(**options: object) -> list[object]:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": "shop_version", **options}
            )
            return list(compare_metadata(context, theirs))

    assert proposed(include_object=include_object) == []
    assert len(proposed()) >= len(OURS)


def test_tables_that_are_there_already_are_left_alone(engine: Engine, folder: Path) -> None:
    """Made by `create` or `amends migrate --participant` before the service had a history."""
    create(engine)
    history = History(folder, engine)

    history.go("head")

    require_schema(engine, "participant")
    assert migrate(engine, "participant").before == NEEDS
    history.go("a1")
    assert not OURS & history.tables()


def test_after_amends_migrate_went_back_to_nothing_a_history_begins_anew(
    engine: Engine, folder: Path
) -> None:
    """It leaves its version table, empty. Guard: `if_not_exists` in `upgrade`."""
    create(engine)
    downgrade(engine, "participant", "base")

    History(folder, engine).go("head")

    require_schema(engine, "participant")


def test_offline_it_writes_the_sql(engine: Engine, folder: Path) -> None:
    """`alembic upgrade --sql`, for whoever lets nobody else touch a database. Guard: nothing is asked of it."""
    if engine.dialect.name != "postgresql":
        engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    history = History(folder, engine)

    command.upgrade(history.config, "head", sql=True)

    written = history.config.output_buffer
    assert isinstance(written, StringIO)
    sql = written.getvalue()
    assert "CREATE TABLE amends_outbox" in sql
    assert "ALTER TABLE amends_outbox SET (autovacuum" in sql
    assert f"INSERT INTO amends_version (version_num) VALUES ('{NEEDS}')" in sql


def test_an_unknown_revision_names_those_there_are(engine: Engine, folder: Path) -> None:
    history = History(folder, engine, to="9999")

    with pytest.raises(UnknownRevision, match=f"no revision '9999'.*{NEEDS}"):
        history.go("head")

    assert not OURS & history.tables()


def test_it_does_not_wait_for_another_migration_inside_the_services_transaction(
    database_url: str, folder: Path
) -> None:
    """Guard: the lock is tried once; whoever holds it may wait for our transaction (CREATE INDEX CONCURRENTLY)."""
    engine = open_engine(database_url)
    history = History(folder, engine)

    with migration_lock(engine, "participant"), pytest.raises(MigrationBusy, match="run this again"):
        history.go("head")

    history.go("head")
    require_schema(engine, "participant")
    engine.dispose()
