"""A participant of a Django service at work, and the coordinator that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from amends.outbox.broker import open_broker
from amends.outbox.wire import Command, Op, Reply
from amends.participants import Ctx, Participant
from amends.participants.django.database import worker_url
from amends.participants.django.lending import lending
from amends.participants.metrics import ParticipantMetrics
from amends.participants.surrounding import surrounded
from tests.django.shop.models import Order
from tests.participants.coordinator import FakeCoordinator, command


def one(work: Callable[[str, Ctx], Any]) -> Participant:
    """A participant whose command `work` creates an order and then does this."""
    participant = Participant("one")

    @participant.command(name="work")
    def handler(cmd: str, ctx: Ctx) -> Any:
        Order.objects.create(number=cmd)
        return work(cmd, ctx)

    return participant


class Service:
    """One participant, its worker and who asks it."""

    def __init__(self, coordinator: FakeCoordinator, engine: Engine, prefix: str) -> None:
        self.coordinator = coordinator
        self.prefix = prefix
        self._engine = engine

    def ask(self, name: str, args: object = None, **fields: Any) -> Reply:
        """Send a command; its reply."""
        return self.coordinator.ask(command(name, args, **fields))

    def undo(self, name: str, sent: Command, **fields: Any) -> Reply:
        """Undo what was asked."""
        return self.coordinator.ask(command(name, None, op=Op.UNDO, saga=sent.saga, path=sent.path, **fields))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    @property
    def orders(self) -> list[str]:
        """The numbers of the committed orders."""
        return [row[0] for row in self.rows("SELECT number FROM shop_order ORDER BY number")]


@contextmanager
def at_work(participant: Participant, engine: Engine, **settings: Any) -> Iterator[Service]:
    """A worker on Django's database and a broker of its own."""
    prefix = f"t{uuid4().hex[:10]}"
    broker = open_broker(f"memory://{prefix}")
    coordinator = FakeCoordinator(broker, prefix, participant.name)
    worker = surrounded(participant, lending("default")).worker(
        database=worker_url("default"),
        broker=broker,
        prefix=prefix,
        metrics=ParticipantMetrics(CollectorRegistry()),
        **{"relay": False, "grace_s": 5, "threads": 1, **settings},
    )
    worker.start()
    try:
        yield Service(coordinator, engine, prefix)
    finally:
        worker.stop()
        coordinator.close()
        broker.close()


def end_backend(engine: Engine, pid: int) -> None:
    """Cut a connection off, and wait until it is."""
    with engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 30000)")
