"""The coordinator and the four services of the example, in this process, on whatever servers they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, select, text

from amends.db.engines import transaction
from amends.outbox.ports import Broker
from amends.participants import Client
from examples.running import running, wait_for_end
from examples.trip.participants import bookings, metadata, participants
from examples.trip.sagas import Trip, journey, trip


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Four databases by service's name, and the coordinator's."""

    coordinator: Engine
    databases: Mapping[str, Engine]
    client: Client

    def order(self, wanted: Trip) -> str:
        """Order a trip; its saga's id, which the trip's number gives. The start leaves with this transaction."""
        with transaction(self.databases["payments"]) as connection:
            return self.client.start(connection, trip, wanted)

    def approve(self, saga_id: str, who: str) -> None:
        """Approve a dear trip, from a service's own transaction; also before the trip asks for it."""
        with transaction(self.databases["payments"]) as connection:
            self.client.signal(connection, saga_id, "approved", {"by": who})

    def wait(self, *sagas: str, timeout_s: float = 60.0) -> None:
        """Wait until these sagas have ended. Raises: TimeoutError."""
        wait_for_end(self.coordinator, sagas, timeout_s)

    def end(self, saga_id: str) -> tuple[str, str]:
        """A saga's status, and why it turned back if it did."""
        with transaction(self.coordinator) as connection:
            row = connection.execute(
                text("SELECT status, coalesce(error, '') FROM amends.saga WHERE id = :id"), {"id": saga_id}
            ).one()
            return row[0], row[1]

    def labels(self, saga_id: str) -> dict[str, str]:
        """What the saga can be searched by."""
        with transaction(self.coordinator) as connection:
            found = text("SELECT labels FROM amends.saga WHERE id = :id")
            return dict(connection.execute(found, {"id": saga_id}).scalar_one())

    def booked(self, name: str) -> list[tuple[str, str, str]]:
        """Who, what and how, of everything that stands in a service's books."""
        wanted = select(bookings.c.who, bookings.c.place, bookings.c.state).order_by(bookings.c.number)
        with transaction(self.databases[name]) as connection:
            return [tuple(row) for row in connection.execute(wanted)]


@contextmanager
def served(
    coordinator: Engine, databases: Mapping[str, Engine], broker: Broker, *, prefix: str
) -> Iterator[World]:
    """Make the services' table, then run coordinator and services until the block ends.

    The databases have amends' own tables already. Raises: StoreUnavailable.
    """
    with running(
        coordinator,
        databases,
        broker,
        prefix=prefix,
        sagas=(journey, trip),
        participants=participants,
        tables=metadata,
    ):
        yield World(
            coordinator=coordinator, databases=databases, client=Client(service="payments", prefix=prefix)
        )
