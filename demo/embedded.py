"""A run in one process: the PostgreSQL that comes as a wheel, and a broker in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from uuid import uuid4

from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.gauges import read_gauges
from amends.coordinator.metrics import DatabaseGauges, PrometheusObserver, exposition, new_registry
from amends.db.embedded import embedded_postgres
from amends.demo.databases import made_databases
from amends.demo.evidence import Databases
from amends.demo.exposition import Samples, read_samples
from amends.demo.logs import Kept, kept_log
from amends.demo.shop.definition import Order, place_order
from amends.demo.shop.inventory import inventory
from amends.demo.shop.payments import payments
from amends.demo.shop.shipping import shipping
from amends.demo.stage import Stage, topology
from amends.outbox.broker import open_broker
from amends.outbox.ports import dead_letter_queue
from amends.outbox.removal import remove

PREFIX: Final = "demo"

# Where no handler hangs or fails on purpose, commands may share transactions (B7), and one thread has more of them
# together than several. Calls to the carrier share none.
SHARING: Final[Mapping[str, Mapping[str, Any]]] = {
    name: {"threads": 1, "batch": 25, "time_limit_s": 20.0} for name in (inventory.name, payments.name)
}


class EmbeddedStage:
    """Everything in this process."""

    words = "embedded PostgreSQL, broker in memory, one process"

    def __init__(self, databases: Databases, log: Kept, *, faults: bool) -> None:
        self.databases = databases
        self.prefix = PREFIX
        self._log = log
        self._broker_url = f"memory://demo-{uuid4().hex[:8]}"
        self.broker = open_broker(self._broker_url)
        self._registry = new_registry()
        self._coordinator = Coordinator(
            databases.coordinator,
            self.broker,
            prefix=PREFIX,
            observer=PrometheusObserver(self._registry),
        )
        self._registry.register(
            DatabaseGauges(
                lambda: read_gauges(databases.coordinator),
                broker_up=lambda: self._coordinator.status().broker_up,
            )
        )
        engines = databases.participants()
        self._workers = [
            participant.worker(
                database=engines[participant.name],
                broker=self.broker,
                prefix=PREFIX,
                **({} if faults else SHARING.get(participant.name, {})),
            )
            for participant in (inventory, payments, shipping)
        ]
        self._running = ExitStack()

    def start(self) -> None:
        """Start the coordinator, then the participants."""
        self._coordinator.catalog.register(place_order.definition, actor="demo")
        self._coordinator.start()
        self._running.callback(self._coordinator.stop)
        for worker in self._workers:
            worker.start()
            self._running.callback(worker.stop)

    def watch(self) -> None:
        """All in this process: it runs as long as we do."""

    def metrics(self) -> Samples | None:
        """The coordinator's registry."""
        return read_samples(exposition(self._registry).decode())

    def log(self) -> Sequence[str]:
        """What amends logged here."""
        return list(self._log.lines)

    def rest(self) -> Mapping[str, int]:
        """Stop the participants, then the coordinator, which has their last answers by then."""
        self.stop()
        held = remove(self._broker_url, topology(PREFIX))
        held.pop(dead_letter_queue(PREFIX))
        return held

    def stop(self) -> None:
        """Stop what runs. May be called again."""
        self._running.close()


@contextmanager
def embedded_stage(orders: Sequence[Order], *, faults: bool) -> Iterator[Stage]:
    """An embedded stage for these orders; nothing is left of it. Raises: EmbeddedUnavailable with the mend."""
    with (
        embedded_postgres() as server,
        made_databases(server.url(), orders, faults=faults) as databases,
        in_this_process(databases, faults=faults) as stage,
    ):
        yield stage


@contextmanager
def in_this_process(databases: Databases, *, faults: bool = True) -> Iterator[Stage]:
    """Coordinator and participants at work in this process, on these databases."""
    with kept_log() as log:
        stage = EmbeddedStage(databases, log, faults=faults)
        try:
            stage.start()
            yield stage
        finally:
            stage.stop()
            stage.broker.close()
