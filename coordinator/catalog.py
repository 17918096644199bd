"""The registered definitions: stored once, never changed, kept in memory after the first look."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from sqlalchemy import Connection, Engine

from amends.coordinator.errors import VersionConflict
from amends.coordinator.inputs import check_schema
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import canonical
from amends.db.engines import transaction

log = logging.getLogger(__name__)

# The hash decides: the same version with another hash is refused. Concurrent registrations of one version meet here.
INSERT_DEFINITION = """
    INSERT INTO amends.definition (name, version, hash, body, active, registered_by)
    VALUES (%(name)s, %(version)s, %(hash)s, %(body)s::json, false, %(actor)s)
    ON CONFLICT (name, version) DO NOTHING
    RETURNING registered_at
"""
STANDING_HASH = "SELECT hash FROM amends.definition WHERE name = %(name)s AND version = %(version)s"

# Activations of one name are serialised, so that the partial unique index never meets two at once.
LOCK_NAME = "SELECT pg_advisory_xact_lock(hashtextextended('amends.definition.' || %(name)s, 0))"
DEACTIVATE = (
    "UPDATE amends.definition SET active = false WHERE name = %(name)s AND active AND version <> %(version)s"
)
ACTIVATE = """
    UPDATE amends.definition SET active = true WHERE name = %(name)s AND version = %(version)s AND NOT active
"""

BY_VERSION = "SELECT body::text FROM amends.definition WHERE name = %(name)s AND version = %(version)s"
ACTIVE_VERSION = "SELECT version, body::text FROM amends.definition WHERE name = %(name)s AND active"
VERSIONS = "SELECT name, version FROM amends.definition"
ALL = "SELECT name, version, hash, active, registered_at, registered_by FROM amends.definition ORDER BY name, version"


@dataclass(frozen=True, slots=True)
class Registered:
    """The outcome of a registration; `created` is False when the same content stood already."""

    name: str
    version: int
    hash: str
    created: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """One registered version, for lists."""

    name: str
    version: int
    hash: str
    active: bool
    registered_at: datetime
    registered_by: str


class Catalog:
    """Definitions by name and version. Thread-safe.

    A registered version never changes, so it is read once; which version is active is read at each start by name.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._known: dict[tuple[str, int], Definition] = {}
        self._unreadable: set[tuple[str, int]] = set()
        self._lock = Lock()

    def register(self, definition: Definition, *, actor: str, activate: bool = True) -> Registered:
        """Store a definition; with `activate` new sagas of its name take it.

        Raises: VersionConflict if the version stands with other content; InvalidDefinition if its input's schema
        cannot be used; StoreUnavailable.
        """
        check_schema(definition)
        row = {
            "name": definition.name,
            "version": definition.version,
            "hash": definition.hash,
            "body": canonical(definition.to_json()),
            "actor": actor,
        }
        with transaction(self._database) as connection:
            connection.exec_driver_sql(LOCK_NAME, row)
            created = connection.exec_driver_sql(INSERT_DEFINITION, row).first() is not None
            if not created:
                standing = connection.exec_driver_sql(STANDING_HASH, row).scalar_one()
                if standing != definition.hash:
                    raise VersionConflict(definition.name, definition.version, standing, definition.hash)
            if activate:
                connection.exec_driver_sql(DEACTIVATE, row)
                connection.exec_driver_sql(ACTIVATE, row)
        self._remember(definition)
        return Registered(definition.name, definition.version, definition.hash, created)

    def get(self, name: str, version: int | None = None) -> Definition | None:
        """One version, or the active one. Raises: StoreUnavailable."""
        known = self._known.get((name, version)) if version is not None else None
        if known is not None:
            return known
        with transaction(self._database) as connection:
            return self.find(connection, name, version)

    def find(self, connection: Connection, name: str, version: int | None) -> Definition | None:
        """As `get`, inside a transaction that is open already. Looks in the database when memory has none (S2).

        A definition in a newer release's language is as unknown here as one that is not registered (E3).
        """
        if version is not None:
            known = self._known.get((name, version))
            if known is not None:
                return known
            row = connection.exec_driver_sql(BY_VERSION, {"name": name, "version": version}).first()
            return self._read(name, version, row[0]) if row else None
        row = connection.exec_driver_sql(ACTIVE_VERSION, {"name": name}).first()
        if row is None:
            return None
        return self._known.get((name, row[0])) or self._read(name, row[0], row[1])

    def participants(self) -> frozenset[str]:
        """Every participant that a registered definition names. Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            for name, version in connection.exec_driver_sql(VERSIONS).all():
                self.find(connection, name, version)
        return frozenset().union(*(definition.participants for definition in list(self._known.values())))

    def list(self) -> list[Listed]:
        """Every version, by name and version. Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            return [Listed(*row) for row in connection.exec_driver_sql(ALL).all()]

    def _read(self, name: str, version: int, body: str) -> Definition | None:
        try:
            definition = Definition.from_json(json.loads(body))
        except InvalidDefinition as error:
            if (name, version) not in self._unreadable:
                self._unreadable.add((name, version))
                log.error(
                    "definition_unreadable", extra={"saga": name, "version": version, "error": str(error)}
                )
            return None
        self._remember(definition)
        return definition

    def _remember(self, definition: Definition) -> None:
        with self._lock:
            self._known[definition.name, definition.version] = definition
