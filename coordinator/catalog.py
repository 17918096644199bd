"""The registered definitions: stored once, never changed, kept in memory after the first look."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Connection, Engine

from amends.coordinator import rollout
from amends.coordinator.auditing import note
from amends.coordinator.calls import refuse_cycles
from amends.coordinator.errors import VersionConflict
from amends.coordinator.inputs import check_schema
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.errors import InvalidDefinition
from amends.coordinator.saga.json import Json, canonical
from amends.db.engines import transaction

log = logging.getLogger(__name__)

# The hash decides: the same version with another hash is refused. Concurrent registrations of one version meet here.
INSERT_DEFINITION = """
    INSERT INTO amends.definition (name, version, hash, body, active, registered_by)
    VALUES (%(name)s, %(version)s, %(hash)s, %(body)s::json, false, %(actor)s)
    ON CONFLICT (name, version) DO NOTHING
    RETURNING registered_at
"""
LOCK_CALLS = "SELECT pg_advisory_xact_lock(hashtextextended('amends.definition', 0))"
STANDING_HASH = "SELECT hash FROM amends.definition WHERE name = %(name)s AND version = %(version)s"

IS_ACTIVE = "SELECT active FROM amends.definition WHERE name = %(name)s AND version = %(version)s"

BY_VERSION = "SELECT body::text FROM amends.definition WHERE name = %(name)s AND version = %(version)s"
ACTIVE_VERSION = "SELECT version, body::text FROM amends.definition WHERE name = %(name)s AND active"
STANDS = """
    SELECT EXISTS (
        SELECT FROM amends.definition
        WHERE name = %(name)s AND (version = %(version)s OR (%(version)s::int IS NULL AND active))
    )
"""
VERSIONS = "SELECT name, version FROM amends.definition"


@dataclass(frozen=True, slots=True)
class Registered:
    """The outcome of a registration; `created` is False when the same content stood already.

    `active` tells whether new sagas of the name take this version now.
    """

    name: str
    version: int
    hash: str
    created: bool
    active: bool


class Catalog:
    """Definitions by name and version. Thread-safe.

    A registered version never changes, so it is read once; which one is active is asked anew each time
    (`amends.coordinator.rollout`).
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._known: dict[tuple[str, int], Definition] = {}
        self._unreadable: set[tuple[str, int]] = set()
        self._lock = Lock()

    def register(
        self, definition: Definition, *, actor: str, activate: bool = True, only_if_new: bool = False
    ) -> Registered:
        """Store a definition; with `activate` new sagas of its name take it.

        With `only_if_new` a version that stood already is not activated: somebody may have gone back from it.

        Raises: VersionConflict if the version stands with other content; InvalidDefinition if its input's schema
        cannot be used or its calls come back to it; StoreUnavailable.
        """
        check_schema(definition)
        row = {
            "name": definition.name,
            "version": definition.version,
            "hash": definition.hash,
            "body": canonical(definition.to_json()),
            "actor": actor,
        }
        # One transaction: the version stands, new sagas take it, the audit says so.
        with transaction(self._database) as connection:
            connection.exec_driver_sql(rollout.LOCK_NAME, row)
            self._refuse_cycles(connection, definition)
            created = connection.exec_driver_sql(INSERT_DEFINITION, row).first() is not None
            if not created:
                standing = connection.exec_driver_sql(STANDING_HASH, row).scalar_one()
                if standing != definition.hash:
                    raise VersionConflict(definition.name, definition.version, standing, definition.hash)
            activated = False
            if activate and (created or not only_if_new):
                activated = rollout.make_active(connection, definition.name, definition.version)
            if created or activated:
                details: dict[str, Json] = {"name": definition.name, "version": definition.version}
                details |= {"hash": definition.hash, "created": created, "activated": activated}
                note(connection, "definition apply", actor=actor, reason="", details=details)
            active = connection.exec_driver_sql(IS_ACTIVE, row).scalar_one()
        self._remember(definition)
        return Registered(definition.name, definition.version, definition.hash, created, active)

    def check_calls(self, connection: Connection, name: str, version: int) -> None:
        """That new sagas of a name take this version closes no circle of calls: those without version lead to it then.

        Raises: InvalidDefinition.
        """
        definition = self.find(connection, name, version)
        if definition is not None:
            self._refuse_cycles(connection, definition)

    def _refuse_cycles(self, connection: Connection, definition: Definition) -> None:
        if definition.calls:
            # Two changes of different names, each allowed alone, could close a circle together: one after the other.
            connection.exec_driver_sql(LOCK_CALLS)
            refuse_cycles(definition, lambda name, version: self.find(connection, name, version))

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

    def stands(self, connection: Connection, name: str, version: int | None) -> bool:
        """Whether a version, or an active one, is registered, even in a language that this release cannot read."""
        return bool(connection.exec_driver_sql(STANDS, {"name": name, "version": version}).scalar_one())

    def participants(self) -> frozenset[str]:
        """Every participant that a registered definition names. Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            for name, version in connection.exec_driver_sql(VERSIONS).all():
                self.find(connection, name, version)
        return frozenset().union(*(definition.participants for definition in list(self._known.values())))

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
