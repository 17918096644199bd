"""Runs the example: `python -m examples.trip`, in the repository's root.

The coordinator's database is an embedded PostgreSQL, the services have SQLite files; everything is in this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from amends.db import participant as participant_tables
from amends.db.embedded import embedded_postgres
from amends.db.engines import open_engine
from amends.db.migrate import migrate
from amends.outbox.broker import open_broker
from examples.trip.participants import DECLINED, participants
from examples.trip.sagas import Traveller, Trip
from examples.trip.serving import World, served

ANN, BOB, CEM = (Traveller("Ann", "Rome"), Traveller("Bob", "Kyiv"), Traveller("Cem", "Bonn"))
TRIPS = (
    Trip("to Oslo", "Oslo", "4111", 90_000, [ANN, BOB, CEM]),
    Trip("to Oslo, dear", "Oslo", "4111", 900_000, [ANN]),
    Trip("to Oslo, unpaid", "Oslo", DECLINED, 60_000, [BOB, CEM]),
    Trip("to Venice", "Venice", "4111", 70_000, [ANN, BOB, CEM]),
)


@contextmanager
def embedded_world() -> Iterator[World]:
    """The example's world without any server; nothing is left of it."""
    with embedded_postgres() as server, tempfile.TemporaryDirectory() as directory:
        coordinator = open_engine(server.url())
        migrate(coordinator, "coordinator")
        names = [participant.name for participant in participants]
        databases = {name: open_engine(f"sqlite:///{Path(directory) / name}.sqlite") for name in names}
        for database in databases.values():
            participant_tables.create(database)
        with served(coordinator, databases, open_broker("memory://trip"), prefix="example") as world:
            yield world
        for engine in (coordinator, *databases.values()):
            engine.dispose()


def main() -> None:
    """Order four trips at once, approve the dear one, and show how they end and what is booked in the end."""
    with embedded_world() as world:
        sagas = [world.order(wanted) for wanted in TRIPS]
        world.approve(sagas[1], "Dana")
        world.wait(*sagas)
        for wanted, saga in zip(TRIPS, sagas, strict=True):
            status, why = world.end(saga)
            click.echo(f"{wanted.number:<16} {status:<12} {why}".rstrip())
        for name in world.databases:
            click.echo(f"{name:<10} " + "; ".join(" ".join(row) for row in world.booked(name)))


if __name__ == "__main__":
    main()
