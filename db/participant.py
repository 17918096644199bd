"""The participant's tables in a service's own database, for services that set them up by themselves.

In a service's Alembic revision:

    def upgrade() -> None:
        participant.upgrade(op, to="0002")

    def downgrade() -> None:
        participant.downgrade(op)

In its `env.py`, hide them from autogenerate, which would otherwise propose to drop them:

    context.configure(..., include_object=participant.include_object)
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.db.joined_migrations import downgrade, upgrade
from amends.db.leftovers import drop_if_empty
from amends.db.migrate import LOCK_WAIT_S, migration_lock
from amends.db.mysql import is_mysql
from amends.db.schema import SCHEMAS, require, revision

__all__ = ["create", "downgrade", "include_object", "upgrade"]

_SCHEMA: Final = SCHEMAS["participant"]
_KEYS: Final = "amends_outbox_key"  # On MySQL and MariaDB alone.


def create(engine: Engine, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
    """Create the tables where they are missing, in one transaction; existing ones are left alone. Takes no Alembic.

    MySQL and MariaDB commit each table by itself: what a run that broke off left there, empty, is made anew.
    Afterwards `amends migrate --participant` carries them from release to release.
    Raises: SchemaOutdated, naming that command, if they are there and older. MigrationBusy, StoreUnavailable.
    """
    with migration_lock(engine, "participant", lock_wait_s), transaction(engine) as connection:
        if revision(connection, "participant") is not None:
            require(connection, "participant")
            return
        if is_mysql(engine.dialect.name):
            # One of a run that broke off may lack its indexes.
            drop_if_empty(connection, [*_SCHEMA.metadata.tables, _KEYS])
        _SCHEMA.metadata.create_all(connection)
        _SCHEMA.version.create(connection, checkfirst=True)
        connection.execute(_SCHEMA.version.insert().values(version_num=_SCHEMA.needs))


def include_object(
    _object: object, name: str | None, type_: str, _reflected: bool, _compare_to: object
) -> bool:
    """For a service's own Alembic: everything but the tables of amends."""
    return type_ != "table" or name not in {*_SCHEMA.metadata.tables, _KEYS, _SCHEMA.version.name}
