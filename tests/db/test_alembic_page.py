"""docs/alembic.md: its revision and its env.py do what the page says, with the schema this release needs."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, inspect

from amends.db.engines import open_engine
from amends.db.participant import include_object
from amends.db.schema import require_schema
from tests.docs.snippets import snippets

REVISION, CONFIGURE = (one.code for one in snippets("docs/alembic.md"))

FIRST = dedent("""
    revision = "a1b2c3d4e5f6"
    down_revision = None

    def upgrade():
        pass

    def downgrade():
        pass
""")
ENV = (
    dedent("""
    from alembic import context
    from sqlalchemy import MetaData
    from amends.db import participant

    target_metadata = MetaData()
    connection = context.config.attributes["connection"]
""")
    + CONFIGURE
    + dedent("""
    with context.begin_transaction():
        context.run_migrations()
""")
)


def test_the_pages_revision_makes_and_drops_the_tables_and_hides_them(tmp_path: Path) -> None:
    engine: Engine = open_engine(f"sqlite:///{tmp_path / 'service.sqlite'}")
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "versions" / "first.py").write_text(FIRST)
    (tmp_path / "versions" / "amends.py").write_text(REVISION)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))

    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    require_schema(engine, "participant")
    with engine.connect() as connection:
        options = {"include_object": include_object}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), MetaData()) == []
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert [name for name in inspect(engine).get_table_names() if name.startswith("amends")] == []
    engine.dispose()
