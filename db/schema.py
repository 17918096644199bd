"""Which schema this release needs, and whether a database has it. Reading it takes no Alembic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
    select,
)

from amends.db.engines import transaction, where
from amends.db.errors import SchemaOutdated
from amends.db.tables import coordinator, participant

Which = Literal["coordinator", "participant"]


@dataclass(frozen=True, slots=True)
class Schema:
    """One family of tables with a history of migrations and a version table of its own.

    `needs` is the revision this release was written for. Revisions are numbers in order; a database that is ahead
    is fine, because a release only adds what its neighbours can live with (expand, then contract).
    """

    which: Which
    needs: str
    metadata: MetaData
    version: Table
    lock: int
    command: str


def _version_table(name: str, schema: str | None) -> Table:
    """As Alembic makes it."""
    return Table(
        name,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
        schema=schema,
    )


# The locks are PostgreSQL advisory locks, one number for the whole database: "amends" in ASCII, then 1 and 2.
SCHEMAS: Final[dict[Which, Schema]] = {
    "coordinator": Schema(
        "coordinator",
        "0008",
        coordinator.metadata,
        _version_table("version", coordinator.SCHEMA),
        0x616D_656E_6473_0001,
        "amends migrate",
    ),
    "participant": Schema(
        "participant",
        "0002",
        participant.metadata,
        _version_table("amends_version", None),
        0x616D_656E_6473_0002,
        "amends migrate --participant",
    ),
}


def revision(connection: Connection, which: Which) -> str | None:
    """The revision a database is at; None before the first migration."""
    version = SCHEMAS[which].version
    if not inspect(connection).has_table(version.name, schema=version.schema):
        return None
    found = connection.execute(select(version.c.version_num)).scalar_one_or_none()
    return None if found is None else str(found)


def require_schema(engine: Engine, which: Which) -> None:
    """Return if the database has what this release needs.

    Raises: SchemaOutdated, naming the command, if it is older or has no tables of amends at all. StoreUnavailable.
    """
    with transaction(engine) as connection:
        require(connection, which)


def require(connection: Connection, which: Which) -> None:
    """As `require_schema`, inside a transaction that is open."""
    schema = SCHEMAS[which]
    found = revision(connection, which)
    if found is None or int(found) < int(schema.needs):
        at = (
            "has no amends tables yet"
            if found is None
            else f"is at revision {found}, older than {schema.needs}"
        )
        raise SchemaOutdated(
            f"the {which} schema of {where(connection.engine)} {at}; run: {schema.command} --database URL"
        )
