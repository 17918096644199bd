"""The database of an asyncio service as the URL that a worker's own, plain engine connects to."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Engine, make_url

from amends.db.errors import UnsupportedDatabase

# What reaches the same server in plain code. A worker brings its own driver: psycopg 3, pymysql or Python's sqlite3.
_PLAIN: Final = {
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgresql+psycopg_async": "postgresql+psycopg",
    "postgresql+psycopg2": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite",
    "mysql+aiomysql": "mysql+pymysql",
    "mysql+asyncmy": "mysql+pymysql",
}


def plain_url(database: str | URL | Engine | Any) -> str:
    """The URL for a worker of a URL, an Engine or an AsyncEngine, whatever its driver. No I/O.

    Of an engine nothing but the URL counts: its `connect_args` do not. asyncpg's `ssl=` becomes libpq's `sslmode=`.
    Raises: UnsupportedDatabase.
    """
    if not isinstance(database, str | URL):
        database = getattr(database, "url", None)
    if not isinstance(database, str | URL):
        raise UnsupportedDatabase("a database is a URL, an Engine or an AsyncEngine")
    url = make_url(database)
    if url.drivername == "postgresql+asyncpg" and "ssl" in url.query:
        url = url.difference_update_query(["ssl"]).update_query_dict({"sslmode": url.query["ssl"]})
    if url.drivername == "postgresql+asyncpg":
        # What only that driver understands, as it is needed behind a pooler: ours prepares nothing there.
        url = url.difference_update_query(
            [name for name in url.query if name.startswith(("prepared_", "async_"))]
        )
    return url.set(drivername=_PLAIN.get(url.drivername, url.drivername)).render_as_string(
        hide_password=False
    )
