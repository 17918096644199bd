"""The servers of an example: a real PostgreSQL and a real RabbitMQ, brought as the tests bring theirs.

Your own do as well: AMENDS_TEST_POSTGRES_URL (may create databases) and AMENDS_TEST_AMQP_URL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.rabbit import RabbitServer, rabbit_server


class Servers:
    """Where the servers are, and what of them is this run's own."""

    def __init__(self, postgres: PostgresServer, rabbit: RabbitServer, stack: ExitStack) -> None:
        self._postgres = postgres
        self._stack = stack
        self.rabbit = rabbit
        self.prefix = f"example-{uuid4().hex[:8]}"
        stack.callback(rabbit.forget, self.prefix)

    @property
    def broker_url(self) -> str:
        """RabbitMQ, as kombu reads it."""
        return self.rabbit.url

    @property
    def postgresql_url(self) -> str:
        """The PostgreSQL server; as SQLAlchemy reads it."""
        return self._postgres.url

    def database(self) -> str:
        """A new, empty database on the PostgreSQL, as SQLAlchemy reads it; dropped when the example ends."""
        url = self._postgres.create_database()
        self._stack.callback(self._postgres.drop_database, url)
        return url


@contextmanager
def servers() -> Iterator[Servers]:
    """Both, until the block ends; queues with this run's prefix are deleted. Raises: ServerUnavailable."""
    with ExitStack() as outer:
        postgres = outer.enter_context(postgres_server())
        rabbit = outer.enter_context(rabbit_server())
        with ExitStack() as stack:
            yield Servers(postgres, rabbit, stack)
