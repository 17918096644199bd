"""What can go wrong in the db package.

DatabaseError
+-- StoreUnavailable     the database cannot be reached or broke off; try again later
|   +-- CommitUnknown    the connection broke during COMMIT: it may or may not have happened
+-- UnsupportedDatabase  a database URL amends has no way to
+-- InvalidSetting       an environment variable holds what it may not; the message names it and says what it may be
+-- SchemaOutdated       the schema is older (or missing); the message names the command
+-- UnknownRevision      there is no such migration to go back to
+-- MigrationBusy        another process has been migrating for too long; look at it, then run again
+-- LeftoverRows         tables of a migration that broke off hold rows by now; the message names the mend
+-- EmbeddedUnavailable  no PostgreSQL wheel for this platform; the message names the mend
+-- MissingExtra         an optional dependency is missing; the message prints its pip line
"""

from __future__ import annotations

from collections.abc import Iterable


class DatabaseError(Exception):
    """Any error of the db package."""


class StoreUnavailable(DatabaseError):
    """The database cannot be reached, or broke the connection off."""


class CommitUnknown(StoreUnavailable):
    """The connection broke during COMMIT. Publish, acknowledge and answer nothing; take a fresh owner id (O2, O3)."""


class UnsupportedDatabase(DatabaseError):
    """A database URL that amends cannot use."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}; a database is postgresql+psycopg://user:password@host:port/name or, for participants, "
            f"mysql+pymysql://user:password@host:port/name, sqlite:///file"
        )


class InvalidSetting(DatabaseError):
    """An environment variable holds what it may not."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}")
        self.name = name


class SchemaOutdated(DatabaseError):
    """The database's schema is not the one this release needs."""


class UnknownRevision(DatabaseError):
    """There is no such migration to go back to."""

    def __init__(self, which: str, revision: str, known: Iterable[str]) -> None:
        super().__init__(
            f"the {which} schema has no revision {revision!r}; known: base, {', '.join(sorted(known))}"
        )


class MigrationBusy(DatabaseError):
    """Another process holds the migration lock and does not let go."""


class LeftoverRows(DatabaseError):
    """Tables of a migration that broke off hold rows by now: nothing was dropped."""

    def __init__(self, revision: str, tables: Iterable[str], filled: Iterable[str]) -> None:
        super().__init__(
            f"revision {revision} is not recorded, but there are rows in {', '.join(filled)}; nothing was dropped. "
            "If another process has just migrated, run this again. Else a migration broke off, and a service wrote "
            "since: stop it, then compare the tables with those of a fresh database. "
            f"If {', '.join(tables)} are there with their indexes, let amends_version hold one row with "
            f"version_num '{revision}'; if not, move their rows elsewhere. Then run this again"
        )


class EmbeddedUnavailable(DatabaseError):
    """There is no embedded PostgreSQL for this platform."""


class MissingExtra(DatabaseError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional part of amends; install it with: pip install 'amends[{extra}]'"
        )
        self.extra = extra
