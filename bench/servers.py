"""The servers of a benchmark run: PostgreSQL as users run it, durable, and RabbitMQ, both on a real disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from amends.db.embedded import postgres_programs
from amends.db.private_postgres import PrivatePostgres, free_port, private_directory
from tests.servers.rabbit import private_rabbit_server

CONNECTIONS_MAX = 300


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and as which processes they run."""

    postgres_url: str
    postgres_pid: int
    broker_url: str
    broker_pid: int

    def create_database(self, name: str) -> str:
        """A new database; its URL for libpq. Its name is made unique."""
        unique = f"{name}_{uuid4().hex[:8]}"
        self.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unique)))
        url = make_url(self.postgres_url).set(database=unique, drivername="postgresql")
        return url.render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Delete it, whoever is connected."""
        name = make_url(url).database
        assert name is not None
        self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, statement: sql.Composed | str) -> None:
        """One statement on the server's own database."""
        url = make_url(self.postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


@contextmanager
def servers() -> Iterator[Servers]:
    """Both, until the block ends. Raises: EmbeddedUnavailable, ServerUnavailable."""
    # Without this the tests' node would keep its files in memory: a benchmark pays for the disk.
    os.environ.setdefault("TMPDIR", "/tmp" if os.path.isdir("/tmp") else os.curdir)
    postgres = PrivatePostgres(
        postgres_programs(), private_directory(), port=free_port(), connections_max=CONNECTIONS_MAX
    )
    try:
        postgres.start()
        with private_rabbit_server() as rabbit:
            broker = urlport(rabbit.url)
            yield Servers(
                postgres_url=postgres.url(),
                postgres_pid=listening(postgres.port or 0),
                broker_url=rabbit.url,
                broker_pid=listening(broker),
            )
    finally:
        postgres.close()


def urlport(url: str) -> int:
    """The port in a URL."""
    port = make_url(url.removesuffix("//")).port
    assert port is not None
    return port


def listening(port: int) -> int:
    """The process that listens on this port of the loopback address."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid is not None:
            return one.pid
    raise LookupError(f"nobody listens on port {port}")
