"""A database of Django's as the URL that a worker connects to by itself."""

from __future__ import annotations

from typing import Any, Final

from django.db import connections
from sqlalchemy import URL

from amends.db.errors import UnsupportedDatabase

# What Django adds for its own connections, or keeps for itself; the rest is libpq's.
_DJANGOS: Final = ("context", "cursor_factory", "prepare_threshold", "client_encoding")
_NAMES: Final = {
    "dbname": "database",
    "user": "username",
    "password": "password",
    "host": "host",
    "port": "port",
}


def worker_url(alias: str) -> str:
    """Where DATABASES[alias] is, with its libpq options (sslmode, service, ...). No I/O.

    Raises: UnsupportedDatabase unless it is PostgreSQL through psycopg 3, and if each of Django's connections takes a
    role of its own.
    """
    wrapper: Any = connections[alias]
    if wrapper.vendor != "postgresql":
        raise UnsupportedDatabase(
            f"handlers that use the ORM work on PostgreSQL, and DATABASES[{alias!r}] is on {wrapper.vendor}"
        )
    if wrapper.Database.__name__ != "psycopg":
        raise UnsupportedDatabase(f"DATABASES[{alias!r}] is reached through psycopg2; install psycopg 3")
    if wrapper.settings_dict["OPTIONS"].get("assume_role"):
        raise UnsupportedDatabase(
            f"DATABASES[{alias!r}] has the option assume_role, which a worker's connection cannot take; "
            f"log in as that role"
        )
    given = {name: value for name, value in wrapper.get_connection_params().items() if name not in _DJANGOS}
    parts: dict[str, Any] = {_NAMES[name]: given.pop(name) for name in tuple(given) if name in _NAMES}
    query = {name: str(value) for name, value in given.items() if value is not None}
    if str(parts.get("host", "")).startswith("/"):
        # A folder of sockets has no place before a URL's path.
        query["host"] = str(parts.pop("host"))
        if "port" in parts:
            query["port"] = str(parts.pop("port"))
    if "port" in parts:
        parts["port"] = int(parts["port"])
    return URL.create("postgresql+psycopg", **parts, query=query).render_as_string(hide_password=False)
