"""The test kit's clock, from noon on; and entries in a log that fail."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from amends.testing.clock import DatabaseClock

NOON_MS: Final = 1_893_499_200_000  # 2030-01-01 12:00 UTC

_INSTALL: Final = (
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
_POISON: Final = """
    CREATE TRIGGER poisoned BEFORE INSERT ON amends.saga_log
    FOR EACH ROW WHEN (NEW.saga_id = '{saga}'::uuid) EXECUTE FUNCTION clock.poisoned({times})
"""


class Clock(DatabaseClock):
    """The hand of one database's clock."""

    def __init__(self, database: Engine) -> None:
        super().__init__(database, NOON_MS)
        self.run(*_INSTALL)

    def set_back(self) -> None:
        """Noon again."""
        self.move(NOON_MS - self.now_ms)

    def poison(self, saga: str, times: int) -> None:
        """So many of the next entries in this saga's log fail, each with its transaction."""
        self.run("SELECT setval('clock.tries', 1, false)", _POISON.format(saga=saga, times=times))

    def cure(self) -> None:
        """No more."""
        self.run("DROP TRIGGER poisoned ON amends.saga_log")
