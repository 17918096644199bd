"""Bringing a database to the schema of this release, safely also when ten processes try at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from amends.db.engines import description, is_away, transaction
from amends.db.errors import (
    MigrationBusy,
    MissingExtra,
    StoreUnavailable,
    UnknownRevision,
    UnsupportedDatabase,
)
from amends.db.mysql import is_mysql
from amends.db.schema import SCHEMAS, Which, revision

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_POLL_S: Final = 0.1
LOCK_WAIT_S: Final = 600.0

_LOCK: Final = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK: Final = text("SELECT pg_advisory_unlock(:key)")
# Such locks have names of at most 64 characters, and are the whole server's.
_MYSQL_NAME: Final = "concat('amends ', sha1(concat(database(), ' ', :key)))"
MYSQL_LOCK: Final = text(f"SELECT get_lock({_MYSQL_NAME}, 0)")
MYSQL_UNLOCK: Final = text(f"SELECT release_lock({_MYSQL_NAME})")


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration found and what it left; None is a database without tables of amends."""

    which: Which
    before: str | None
    after: str | None


def migrate(engine: Engine, which: Which, *, lock_wait_s: float = LOCK_WAIT_S) -> Migrated:
    """Upgrade to this release's schema; a database that is there already, or ahead, is left alone.

    Processes that come at the same time take turns. PostgreSQL commits each migration by itself, MySQL
    and MariaDB each table.
    Raises: MigrationBusy, LeftoverRows, StoreUnavailable, MissingExtra without Alembic; UnsupportedDatabase
    if it is not PostgreSQL that the coordinator was given.
    """
    _check(engine, which)
    with migration_lock(engine, which, lock_wait_s):
        before = _revision(engine, which)
        if before is None or int(before) < int(SCHEMAS[which].needs):
            _alembic(engine, which, "upgrade", "head")
        return Migrated(which, before, _revision(engine, which))


def downgrade(engine: Engine, which: Which, target: str, *, lock_wait_s: float = LOCK_WAIT_S) -> Migrated:
    """Go back to revision `target`, or to before the first with `base`: that drops every table and its data.

    Raises: UnknownRevision, and as `migrate`.
    """
    _check(engine, which)
    known = {script.revision for script in scripts(which).walk_revisions()}
    if target not in {"base", *known}:
        raise UnknownRevision(which, target, known)
    with migration_lock(engine, which, lock_wait_s):
        before = _revision(engine, which)
        _alembic(engine, which, "downgrade", target)
        return Migrated(which, before, _revision(engine, which))


@contextmanager
def migration_lock(engine: Engine, which: Which, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Be the only one to migrate this schema of this database, for as long as the block lasts.

    It asks again and again, outside any transaction: one that waited inside would deadlock with the other's
    CREATE INDEX CONCURRENTLY, which waits for all transactions. SQLite needs no such lock: its transactions take the
    file's write lock at their begin. Raises: MigrationBusy after `wait_s`; StoreUnavailable.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    lock, unlock, activity = _LOCK, _UNLOCK, "pg_stat_activity"
    if is_mysql(engine.dialect.name):
        lock, unlock, activity = MYSQL_LOCK, MYSQL_UNLOCK, "SHOW PROCESSLIST"
    key = {"key": SCHEMAS[which].lock}
    with _autocommit(engine) as connection:
        deadline = time.monotonic() + wait_s
        while not connection.scalar(lock, key):
            if time.monotonic() > deadline:
                raise MigrationBusy(
                    f"another process has been migrating the {which} schema for {wait_s:g} s; "
                    f"see {activity} for it, then run {SCHEMAS[which].command} again"
                )
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            connection.scalar(unlock, key)


@contextmanager
def _autocommit(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    except DBAPIError as error:
        if is_away(error):
            raise StoreUnavailable(description(engine, error)) from error
        raise


def _revision(engine: Engine, which: Which) -> str | None:
    with transaction(engine) as connection:
        return revision(connection, which)


def _check(engine: Engine, which: Which) -> None:
    if which == "coordinator" and engine.dialect.name != "postgresql":
        raise UnsupportedDatabase(f"the coordinator's database is PostgreSQL, not {engine.dialect.name}")


def _alembic(engine: Engine, which: Which, direction: Literal["upgrade", "downgrade"], target: str) -> None:
    configuration = alembic_config(which)
    from alembic import command

    with engine.connect() as connection:
        configuration.attributes["connection"] = connection
        (command.upgrade if direction == "upgrade" else command.downgrade)(configuration, target)


def scripts(which: Which) -> ScriptDirectory:
    """One of our histories. Raises: MissingExtra without Alembic."""
    configuration = alembic_config(which)
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(configuration)


def alembic_config(which: Which) -> Config:
    """Alembic's configuration for one of our histories; `attributes["connection"]` is still to be set.

    Raises: MissingExtra without Alembic.
    """
    try:
        from alembic.config import Config
    except ModuleNotFoundError as error:
        raise MissingExtra("migrating a database", "migrations") from error
    configuration = Config()
    location = Path(__file__).parent / "migrations" / which
    configuration.set_main_option("script_location", str(location).replace("%", "%%"))
    return configuration
