"""The coordinator and the three participants of the example, in this process, on whatever servers they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

from sqlalchemy import Engine, func, select

from amends.coordinator import queries
from amends.coordinator.engine.coordinator import Coordinator
from amends.db.engines import transaction
from amends.outbox.ports import Broker
from amends.participants import Client
from examples.conditional_commit.tasks import Run, conditional_commit, metadata, participants, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Three databases by participant's name, and the coordinator's."""

    coordinator: Engine
    databases: Mapping[str, Engine]
    prefix: str

    def start(self, run: Run) -> str:
        """Start a run; its saga's id. The start is a row in north's outbox: it leaves when this transaction commits."""
        client = Client(service="north", prefix=self.prefix)
        with transaction(self.databases["north"]) as connection:
            return client.start(connection, conditional_commit, run, key=run.run)

    def wait(self, *sagas: str, timeout_s: float = 60.0) -> None:
        """Wait until these sagas have ended. Raises: TimeoutError."""
        deadline = monotonic() + timeout_s
        while queries.ended_among(self.coordinator, sagas) != set(sagas):
            if monotonic() > deadline:
                raise TimeoutError(f"not all of {len(sagas)} runs have ended after {timeout_s:g} s")
            sleep(0.05)

    def counts(self, run: str) -> dict[str, int]:
        """How many rows of a run stand in each database."""
        counts = {}
        for name, database in self.databases.items():
            with transaction(database) as connection:
                counted = select(func.count()).select_from(rows).where(rows.c.run == run)
                counts[name] = connection.execute(counted).scalar_one()
        return counts


@contextmanager
def served(
    coordinator: Engine, databases: Mapping[str, Engine], broker: Broker, *, prefix: str
) -> Iterator[World]:
    """Install the example's table in each database, then run coordinator and participants until the block ends.

    The databases have amends' own tables already. Raises: StoreUnavailable.
    """
    for database in databases.values():
        with transaction(database) as connection:
            metadata.create_all(connection)
    with ExitStack() as stack:
        engine = Coordinator(coordinator, broker, prefix=prefix)
        engine.catalog.register(conditional_commit.definition, actor="example")
        engine.start()
        stack.callback(engine.stop)
        for participant in participants:
            worker = participant.worker(database=databases[participant.name], broker=broker, prefix=prefix)
            worker.start()
            stack.callback(worker.stop)
        yield World(coordinator=coordinator, databases=databases, prefix=prefix)
