"""Django's migrations make exactly what the SDK's own do, where routers allow it, and leave alone what is there."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import NotSupportedError, connections
from django.test import override_settings
from sqlalchemy import Engine, inspect, text

from amends.db.engines import open_engine, transaction
from amends.db.errors import MigrationBusy
from amends.db.migrate import migrate, migration_lock
from amends.db.participant import create
from amends.db.schema import SCHEMAS, require_schema, revision
from tests.django.project import databases, entry

OURS = {"amends_barrier", "amends_lock", "amends_outbox", "amends_owner", "amends_version"}


class OursOnOther:
    """A router that keeps amends on the database `other` alone."""

    def allow_migrate(self, db: str, app_label: str, **_hints: object) -> bool | None:
        return db == "other" if app_label == "amends" else None


class NoWhere:
    """A router without room for amends."""

    def allow_migrate(self, db: str, app_label: str, **_hints: object) -> bool | None:
        return False if app_label == "amends" else None


def django_migrate(target: str | None = None, database: str = "default") -> None:
    names = ("amends",) if target is None else ("amends", target)
    call_command("migrate", *names, database=database, verbosity=0)


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def description(engine: Engine) -> list[object]:
    """All that the catalogues tell of our tables, whoever made them."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            indexes = connection.execute(
                text(
                    "SELECT sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'ix_amends%' ORDER BY 1"
                )
            ).all()
            storage = connection.execute(
                text(
                    "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' AND name LIKE 'amends%'"
                )
            ).all()
        else:
            indexes = connection.execute(
                text("SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'amends%' ORDER BY 1")
            ).all()
            storage = connection.execute(
                text("SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'amends%' ORDER BY 1")
            ).all()
    found: list[object] = [[tuple(row) for row in indexes], [tuple(map(str, row)) for row in storage]]
    seen = inspect(engine)
    for table in sorted(OURS):
        columns = [
            (str(column["name"]), str(column["type"]), column["nullable"], column["default"])
            for column in seen.get_columns(table)
        ]
        checks = sorted(
            (str(one["name"]), " ".join(one["sqltext"].split())) for one in seen.get_check_constraints(table)
        )
        found.append((table, columns, checks, seen.get_pk_constraint(table)["constrained_columns"]))
    return found


def test_migrate_makes_what_this_release_needs(engine: Engine) -> None:
    django_migrate()

    require_schema(engine, "participant")
    assert migrate(engine, "participant").before == SCHEMAS["participant"].needs


def test_its_tables_are_those_that_the_sdk_describes(engine: Engine, tmp_path: Path) -> None:
    """Guard: `amends.participants.django.tables` beside `amends.db.tables`; seen to fail without an index there."""
    django_migrate()
    by_django = description(engine)
    django_migrate("zero")

    create(engine)

    assert description(engine) == by_django


def test_makemigrations_finds_nothing_to_do(engine: Engine) -> None:
    """Guard: the models' copy in the migration; seen to fail with another verbose_name there."""
    django_migrate()

    call_command("makemigrations", "amends", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("made_by", ["create", "amends migrate"])
def test_tables_that_are_there_already_are_left_alone(engine: Engine, made_by: str) -> None:
    """Guard: CreateTables asks the version table; without that it fails on tables that exist."""
    if made_by == "create":
        create(engine)
    else:
        migrate(engine, "participant")
    with transaction(engine) as connection:
        connection.execute(SCHEMAS["participant"].version.update().values(version_num="0099"))

    django_migrate()

    with transaction(engine) as connection:
        assert revision(connection, "participant") == "0099"


def test_it_goes_back_to_nothing_and_up_again(engine: Engine) -> None:
    django_migrate()

    django_migrate("zero")

    assert not OURS & tables(engine)
    django_migrate()
    require_schema(engine, "participant")


def test_a_database_that_went_down_by_amends_is_made_anew(postgresql: Engine) -> None:
    """Alembic leaves an empty version table. Guard: IF NOT EXISTS for that one."""
    from amends.db.migrate import downgrade

    downgrade(postgresql, "participant", "base")
    call_command("migrate", "amends", "zero", fake=True, verbosity=0)

    django_migrate()

    require_schema(postgresql, "participant")


def test_routers_say_where_the_tables_go(engine: Engine, tmp_path: Path) -> None:
    """Guard: `allow_migrate` in CreateTables; without it they appear on both."""
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    other = open_engine(url)
    first = dict(connections["default"].settings_dict)
    with (
        databases(default=first, other=entry(url)),
        override_settings(DATABASE_ROUTERS=["tests.django.test_migrations.OursOnOther"]),
    ):
        django_migrate()
        django_migrate(database="other")

        assert not OURS & tables(engine)
        assert tables(other) >= OURS
        require_schema(other, "participant")

        django_migrate("zero")
        assert tables(other) >= OURS
    other.dispose()


def test_sqlmigrate_writes_it_down(engine: Engine) -> None:
    """Also where the tables are there. Guard: with SQL only collected the database is not asked."""
    create(engine)
    written = StringIO()

    call_command("sqlmigrate", "amends", "0001", stdout=written)

    assert "CREATE TABLE amends_outbox" in written.getvalue()
    assert "INSERT INTO amends_version (version_num) VALUES ('0001')" in written.getvalue()


def test_another_migration_under_way_is_told_and_nothing_is_changed(database_url: str) -> None:
    """Guard: the advisory lock of `amends migrate`, tried once: its holder may wait for our transaction."""
    engine = open_engine(database_url)
    with databases(default=entry(database_url)):
        with migration_lock(engine, "participant"), pytest.raises(MigrationBusy, match="run this again"):
            django_migrate()

        assert not OURS & tables(engine)
        django_migrate()
        require_schema(engine, "participant")
    engine.dispose()


def test_another_kind_of_database_is_refused_by_name() -> None:
    from amends.participants.django.operations import CreateTables

    class Elsewhere:
        collect_sql = False

        class connection:  # noqa: N801 - As the schema editor has it.
            alias = "legacy"
            vendor = "mysql"

    with pytest.raises(NotSupportedError, match=r"DATABASES\['legacy'\] is on mysql; let a router"):
        CreateTables("0001").database_forwards("amends", Elsewhere(), None, None)
    with override_settings(DATABASE_ROUTERS=["tests.django.test_migrations.NoWhere"]):
        CreateTables("0001").database_forwards("amends", Elsewhere(), None, None)


def test_every_revision_has_a_migration_of_djangos() -> None:
    """A newer revision of the SDK's tables needs one: this reminds of it."""
    from amends.participants.django import migrations

    needs = int(SCHEMAS["participant"].needs)
    found = {path.name[:4] for path in Path(migrations.__file__).parent.glob("0*.py")}
    assert found == {f"{number:04}" for number in range(1, needs + 1)}


def test_a_database_at_the_first_revision_is_carried_on_and_back(engine: Engine) -> None:
    """Guard: CreateTables compares revisions; while it looked for any, a database kept its first tables."""
    from sqlalchemy import text

    django_migrate("0001")
    with transaction(engine) as connection:
        at_first = revision(connection, "participant")
        connection.execute(
            text("INSERT INTO amends_owner (id, label) VALUES (:id, 'kept')"), {"id": "0" * 32}
        )

    django_migrate()

    require_schema(engine, "participant")
    assert at_first == "0001"
    assert tables(engine) >= OURS
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM amends_owner")).scalar() == 1
    django_migrate("0001")
    assert OURS - tables(engine) == {"amends_lock"}
