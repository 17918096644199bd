"""The PostgreSQL of a test run: embedded, or the project's own; each test has a database of its own on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Engine, make_url

from amends.db.embedded import postgres_programs
from amends.db.engines import database_url, open_engine, transaction
from amends.db.migrate import migrate
from amends.db.private_postgres import PrivatePostgres, private_directory

POOL_MAX = 4


@contextmanager
def embedded_server() -> Iterator[str]:
    """The URL of an embedded PostgreSQL that does not wait for the disk; gone at the end, or with this process.

    Raises: EmbeddedUnavailable with the mend.
    """
    server = PrivatePostgres(postgres_programs(), private_directory(), durable=False)
    try:
        server.start()
        yield server.url()
    finally:
        server.close()


class Databases:
    """Databases with a coordinator's tables: copied, which is cheaper than to migrate each."""

    def __init__(self, server_url: str) -> None:
        """Raises: StoreUnavailable, MissingExtra."""
        self._url = make_url(database_url(server_url))
        self._server = open_engine(self._url, pool_max=1).execution_options(isolation_level="AUTOCOMMIT")
        self._template = f"amends_test_{uuid4().hex[:10]}"
        self._run(f'CREATE DATABASE "{self._template}"')
        engine = open_engine(self._url.set(database=self._template), pool_max=POOL_MAX)
        try:
            migrate(engine, "coordinator")
        finally:
            engine.dispose()

    @contextmanager
    def one(self) -> Iterator[Engine]:
        """A fresh one, dropped at the end."""
        name = f"amends_test_{uuid4().hex[:10]}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        engine = open_engine(self._url.set(database=name), pool_max=POOL_MAX, label="amends testing")
        try:
            yield engine
        finally:
            engine.dispose()
            self._drop(name)

    def close(self) -> None:
        """Drop what is left."""
        self._drop(self._template)
        self._server.dispose()

    def _drop(self, name: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with transaction(self._server) as connection:
            connection.exec_driver_sql(statement)
