"""The database's idea of time, in a test's hand: it stands still until it is moved.

Functions of these names stand before PostgreSQL's own in the search path, so a coordinator's statements ask them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

_INSTALL: Final = (
    "CREATE SCHEMA clock",
    "CREATE TABLE clock.hand (at timestamptz NOT NULL)",
    "INSERT INTO clock.hand VALUES (to_timestamp({now_ms} / 1000.0))",
    *(
        f"CREATE FUNCTION clock.{name}() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.hand'"
        for name in ("now", "clock_timestamp", "statement_timestamp")
    ),
    # Defaults were bound to PostgreSQL's own when the tables were made.
    "ALTER TABLE amends.saga ALTER created_at SET DEFAULT clock.now()",
)
_SEARCH: Final = """
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %%I SET search_path = clock, pg_catalog', current_database());
    END $$
"""


class DatabaseClock:
    """The hand of one coordinator database's clock. Whoever connects after it was made asks it."""

    def __init__(self, database: Engine, now_ms: int) -> None:
        self._database = database
        self.now_ms = now_ms
        self.run(*(statement.format(now_ms=now_ms) for statement in _INSTALL), _SEARCH)
        database.dispose()

    def move(self, milliseconds: int) -> None:
        """Let so much time pass."""
        self.now_ms += milliseconds
        self.run(f"UPDATE clock.hand SET at = to_timestamp({self.now_ms} / 1000.0)")

    def run(self, *statements: str) -> None:
        """These statements in one transaction."""
        with self._database.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
