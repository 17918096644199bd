"""Everything at once: a coordinator with its door, an SDK worker, PostgreSQL for each, RabbitMQ between them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from amends.coordinator import Saga
from amends.db.engines import open_engine, transaction
from amends.db.participant import create
from amends.outbox.broker import open_broker
from amends.participants import Client, SagaView
from tests.doors.house import House
from tests.engine.world import World
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually
from tests.whole import shop


class Whole:
    """Shared by many tests: each has sagas of its own name."""

    def __init__(self, postgres: PostgresServer, template: str, rabbit: RabbitServer) -> None:
        self.prefix = f"t{uuid4().hex[:8]}"
        self.rabbit_url = rabbit.url
        self._ends = ExitStack()
        self._ends.callback(rabbit.forget, f"{self.prefix}.")
        coordinators = self._database(postgres, template)
        self.services = self._database(postgres)
        create(self.services)
        shop.metadata.create_all(self.services)
        self.world = World(coordinators, open_broker(rabbit.url), self.prefix)
        self._ends.callback(self.world.broker.close)
        self._ends.callback(self.world.close)
        self.world.start()
        broker = open_broker(rabbit.url)
        self._ends.callback(broker.close)
        worker = shop.shop(coordinators, self.prefix).worker(
            database=self.services, broker=broker, prefix=self.prefix
        )
        worker.start()
        self._ends.callback(worker.stop)
        self.house = House(self.world)
        self._ends.callback(self.house.close)
        self.client = Client("shop", prefix=self.prefix, url=self.house.server.url)

    def _database(self, postgres: PostgresServer, template: str | None = None) -> Engine:
        url = postgres.create_database(template) if template is not None else postgres.create_database()
        engine = open_engine(url)
        self._ends.callback(postgres.drop_database, url)
        self._ends.callback(engine.dispose)
        return engine

    def close(self) -> None:
        """Stop everything."""
        self._ends.close()

    def start(self, saga: Saga, input_: object = None, **how: Any) -> str:
        """Register a saga and start it in the service's own transaction."""
        self.world.register(saga)
        with transaction(self.services) as connection:
            return self.client.start(connection, saga, {} if input_ is None else input_, **how)

    def ended(self, saga_id: str) -> SagaView:
        """A saga once it has ended; its log gives what is stored (invariant 10)."""
        view = self.client.wait(saga_id, 30)
        assert self.world.replayed(saga_id) == self.world.state(saga_id)
        return view

    def stuck(self, saga_id: str) -> list[str]:
        """The steps of a saga that needs an operator, once it does."""
        self.world.wait_for(saga_id, "stuck")
        return [one.path for one in self.client.get(saga_id).stuck]

    def happened(self, saga_id: str) -> list[tuple[str, str, str]]:
        """What handlers did for a saga, in order: op, path, note."""
        with self.services.connect() as connection:
            return shop.happened(connection, saga_id)

    def does(self, saga_id: str) -> list[str]:
        """The same in short: `do a`, `undo a`."""
        return [f"{op} {path}" for op, path, _ in self.happened(saga_id)]

    def wait_for(self, saga_id: str, what: str) -> None:
        """Wait until a handler has done this."""
        eventually(lambda: what in self.does(saga_id), what=what)

    def begun(self, saga_id: str, path: str) -> None:
        """Wait until a saga has come to this step."""
        there = "SELECT 1 FROM amends.step WHERE saga_id = :id AND path = :path"
        eventually(lambda: self.world.value(there, id=saga_id, path=path), what=f"{path} to begin")

    def close_to(self, saga_name: str, path: str, op: str = "do") -> None:
        """Let a step refuse."""
        with transaction(self.services) as connection:
            shop.close(connection, saga_name, path, op)

    def reopen(self, saga_name: str) -> None:
        """Let nothing of these sagas be refused any more."""
        with transaction(self.services) as connection:
            shop.reopen(connection, saga_name)
