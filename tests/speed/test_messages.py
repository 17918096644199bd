"""How many messages one saga costs, and of what size, from its start in a service's outbox to its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, make_url, text

from amends.coordinator.engine.coordinator import Coordinator
from amends.db.engines import open_engine, transaction
from amends.db.tables import participant as tables
from amends.outbox.drivers.memory import memory_broker
from amends.outbox.relay import Relay
from amends.outbox.store import OutboxStore
from amends.participants import Client
from amends.participants.metrics import ParticipantMetrics
from bench import shop
from bench.order import EFFECTS_TABLE, PARTICIPANTS, order
from tests.servers.postgres import PostgresServer
from tests.waiting import DEADLINE_S, eventually

SAGAS = 30


class Town:
    """A coordinator, three participants and a front in this process; its broker counts what passes through."""

    def __init__(self, coordinator: Engine, front: Engine, participants: dict[str, Engine]) -> None:
        self.prefix = f"t{uuid4().hex[:8]}"
        self.broker = memory_broker(self.prefix)
        self.front = front
        self.database = coordinator
        self.coordinator = Coordinator(coordinator, self.broker, prefix=self.prefix)
        self.coordinator.catalog.register(shop.bench_order.definition, actor="test")
        self.relay = Relay(
            front,
            self.broker,
            store=OutboxStore(tables.outbox, tables.owner),
            prefix=self.prefix,
            service="front",
            label="front",
        )
        self.workers = [
            getattr(shop, name).worker(
                database=participants[name],
                broker=self.broker,
                prefix=self.prefix,
                metrics=ParticipantMetrics(CollectorRegistry()),
                relay=False,
            )
            for name in PARTICIPANTS
        ]

    def start(self) -> None:
        for one in (self.coordinator, *self.workers, self.relay):
            one.start()

    def stop(self) -> None:
        for one in (self.relay, *self.workers, self.coordinator):
            one.stop()

    def place(self, sagas: int) -> None:
        """Start so many, and wait until each has completed and its start is receipted."""
        client = Client("front", prefix=self.prefix)
        with transaction(self.front) as connection:
            for number in range(sagas):
                client.start(connection, shop.bench_order, order(f"{number}"), key=f"{number}")
        eventually(self._all_over, DEADLINE_S, what="every saga to be over")

    def _all_over(self) -> bool:
        with self.database.connect() as connection:
            ended = connection.exec_driver_sql("SELECT count(*) FROM amends.saga WHERE status = 'completed'")
            if ended.scalar_one() < SAGAS:
                return False
        with self.front.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM amends_outbox").scalar_one() == 0

    def passed(self) -> dict[str, int]:
        """How many messages each queue has taken, without the prefix."""
        queues = self.broker.queues.items()
        return {name.removeprefix(f"{self.prefix}."): queue.places for name, queue in queues if queue.places}


@pytest.fixture
def town(postgres: PostgresServer, coordinator_template: str, participant_template: str) -> Iterator[Town]:
    with ExitStack() as ends:

        def database(template: str, name: str) -> Engine:
            url = postgres.create_database(template)
            ends.callback(postgres.drop_database, url)
            engine = open_engine(make_url(url), label=f"speed {name}", pool_max=20)
            ends.callback(engine.dispose)
            return engine

        participants = {name: database(participant_template, name) for name in PARTICIPANTS}
        for engine in participants.values():
            with transaction(engine) as connection:
                connection.execute(text(EFFECTS_TABLE))
        made = Town(
            database(coordinator_template, "coordinator"),
            database(participant_template, "front"),
            participants,
        )
        yield made
        made.stop()


def test_a_saga_of_three_steps_costs_eight_messages(town: Town) -> None:
    """Start and receipt, and for each step a command and a reply: nothing is sent twice where nothing fails.

    Guard: rows offered to the sender are not swept as well (O2), answers are not repeated.
    """
    town.start()

    town.place(SAGAS)

    wanted = {f"{name}.do": SAGAS for name in PARTICIPANTS} | {"receipts.front": SAGAS}
    assert town.passed() == {**wanted, "coordinator": SAGAS * (1 + len(PARTICIPANTS))}


def test_a_worker_has_few_threads_and_no_more_connections_than_those(town: Town) -> None:
    """Four and two that obey; for each lane one that receives; sender, heartbeat, housekeeping.

    Guard: WorkerSettings; every thread costs a stack, every connection a process of PostgreSQL.
    """
    town.coordinator.start()
    town.relay.start()
    before = set(threading.enumerate())
    for worker in town.workers:
        worker.start()
    threads = set(threading.enumerate()) - before

    town.place(SAGAS)

    assert len(threads) <= 11 * len(town.workers), sorted(thread.name for thread in threads)
    for name in PARTICIPANTS:
        assert _connections(town.database, f"speed {name}") <= 11


def test_a_coordinator_has_few_threads_and_connections(town: Town) -> None:
    before = set(threading.enumerate())
    town.coordinator.start()
    threads = set(threading.enumerate()) - before
    town.relay.start()
    for worker in town.workers:
        worker.start()

    town.place(SAGAS)

    assert len(threads) <= 10, sorted(thread.name for thread in threads)
    assert _connections(town.database, "speed coordinator") <= 10


def _connections(database: Engine, application: str) -> int:
    with database.connect() as connection:
        statement = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :application")
        return connection.execute(statement, {"application": application}).scalar_one()
