"""The database's idea of time, in a test's hand: it stands still until it is moved.

Functions of these names stand before PostgreSQL's own in the search path, so the engine's statements ask them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

NOON_MS: Final = 1_893_499_200_000  # 2030-01-01 12:00 UTC

_INSTALL: Final = (
    "CREATE SCHEMA clock",
    "CREATE TABLE clock.hand (at timestamptz NOT NULL)",
    f"INSERT INTO clock.hand VALUES (to_timestamp({NOON_MS} / 1000.0))",
    *(
        f"CREATE FUNCTION clock.{name}() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.hand'"
        for name in ("now", "clock_timestamp", "statement_timestamp")
    ),
    # Defaults were bound to PostgreSQL's own when the tables were made.
    "ALTER TABLE amends.saga ALTER created_at SET DEFAULT clock.now()",
    # Entries in a log can be made to fail so many times. A sequence counts: it does not roll back with the transaction.
    "CREATE SEQUENCE clock.tries",
    """
    CREATE FUNCTION clock.poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('clock.tries') <= TG_ARGV[0]::bigint THEN
            RAISE EXCEPTION 'poisoned';
        END IF;
        RETURN NEW;
    END $$
    """,
)
_SEARCH: Final = """
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %%I SET search_path = clock, pg_catalog', current_database());
    END $$
"""
_POISON: Final = """
    CREATE TRIGGER poisoned BEFORE INSERT ON amends.saga_log
    FOR EACH ROW WHEN (NEW.saga_id = '{saga}'::uuid) EXECUTE FUNCTION clock.poisoned({times})
"""


class Clock:
    """The hand of one database's clock."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._run(*_INSTALL, _SEARCH)
        database.dispose()  # Whoever connects from now on asks this clock.
        self.now_ms = NOON_MS

    def move(self, milliseconds: int) -> None:
        """Let so much time pass."""
        self.now_ms += milliseconds
        self._run(f"UPDATE clock.hand SET at = to_timestamp({self.now_ms} / 1000.0)")

    def set_back(self) -> None:
        """Noon again."""
        self.move(NOON_MS - self.now_ms)

    def poison(self, saga: str, times: int) -> None:
        """So many of the next entries in this saga's log fail, each with its transaction."""
        self._run("SELECT setval('clock.tries', 1, false)", _POISON.format(saga=saga, times=times))

    def cure(self) -> None:
        """No more."""
        self._run("DROP TRIGGER poisoned ON amends.saga_log")

    def _run(self, *statements: str) -> None:
        with self._database.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
