"""The coordinator and the three participants of the example, in this process, on whatever servers they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from amends.db.engines import transaction
from amends.outbox.ports import Broker
from amends.participants import Client
from examples.conditional_commit.tasks import Run, conditional_commit, metadata, participants, rows
from examples.running import running, wait_for_end


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
        wait_for_end(self.coordinator, sagas, timeout_s)

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
    with running(
        coordinator,
        databases,
        broker,
        prefix=prefix,
        sagas=[conditional_commit],
        participants=participants,
        tables=metadata,
    ):
        yield World(coordinator=coordinator, databases=databases, prefix=prefix)
