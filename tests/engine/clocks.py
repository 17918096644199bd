"""A database whose clock a test sets: a coordinator that is connected this way reads another time than all others.

Their statements find a `now()` and a `clock_timestamp()` of their own first. What columns default to is the real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, make_url, text

from amends.db.engines import open_engine

_CLOCK = """
    CREATE SCHEMA clock;
    CREATE TABLE clock.step (seconds int); INSERT INTO clock.step VALUES (0);
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
        $$ SELECT pg_catalog.clock_timestamp() + seconds * interval '1 second' FROM clock.step $$;
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS
        $$ SELECT pg_catalog.now() + seconds * interval '1 second' FROM clock.step $$
"""


class SteppedClock:
    """The database by way of a clock that `step` sets."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def step(self, seconds: int) -> None:
        """From now on the clock is so many seconds ahead of the real time, or behind it."""
        with self.database.begin() as connection:
            connection.execute(text("UPDATE clock.step SET seconds = :seconds"), {"seconds": seconds})


@contextmanager
def stepped_clock(database: Engine) -> Iterator[SteppedClock]:
    """The same database, with a clock that can be set."""
    with database.begin() as connection:
        connection.execute(text(_CLOCK))
    url = make_url(database.url.render_as_string(hide_password=False))
    other = open_engine(
        url.update_query_dict({"options": "-csearch_path=clock,pg_catalog"}).render_as_string(
            hide_password=False
        )
    )
    try:
        yield SteppedClock(other)
    finally:
        other.dispose()
