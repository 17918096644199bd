"""Runs the example: `python -m examples.trip`, in the repository's root.

The coordinator's database is a PostgreSQL, the services have SQLite files, the broker is RabbitMQ; coordinator and
services are in this process. `--embedded` needs no server: an embedded PostgreSQL, a broker in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from amends.db import participant as participant_tables
from amends.db.embedded import embedded_postgres
from amends.db.engines import open_engine
from amends.db.migrate import migrate
from amends.outbox.broker import open_broker
from examples.servers import servers
from examples.trip.participants import DECLINED, participants
from examples.trip.sagas import Traveller, Trip
from examples.trip.serving import World, served
from examples.verdict import Verdict

ANN, BOB, CEM = (Traveller("Ann", "Rome"), Traveller("Bob", "Kyiv"), Traveller("Cem", "Bonn"))
TRIPS = (
    Trip("to Oslo", "Oslo", "4111", 90_000, [ANN, BOB, CEM]),
    Trip("to Oslo, dear", "Oslo", "4111", 900_000, [ANN]),
    Trip("to Oslo, unpaid", "Oslo", DECLINED, 60_000, [BOB, CEM]),
    Trip("to Venice", "Venice", "4111", 70_000, [ANN, BOB, CEM]),
)


ENDS = ("completed", "completed", "compensated", "compensated")
OSLO = [
    ("Ann", "Oslo", "taken"),
    ("Ann", "Oslo", "taken"),
    ("Bob", "Oslo", "taken"),
    ("Cem", "Oslo", "taken"),
]


@contextmanager
def world_on(coordinator_url: str, broker_url: str, prefix: str) -> Iterator[World]:
    """The example's world on these servers; the services' files go with it."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        coordinator = open_engine(coordinator_url)
        stack.callback(coordinator.dispose)
        migrate(coordinator, "coordinator")
        databases = {
            participant.name: open_engine(f"sqlite:///{Path(directory) / participant.name}.sqlite")
            for participant in participants
        }
        for database in databases.values():
            stack.callback(database.dispose)
            participant_tables.create(database)
        broker = open_broker(broker_url)
        stack.callback(broker.close)
        yield stack.enter_context(served(coordinator, databases, broker, prefix=prefix))


@contextmanager
def real_world() -> Iterator[World]:
    """On PostgreSQL and RabbitMQ."""
    with servers() as at, world_on(at.database(), at.broker_url, at.prefix) as world:
        yield world


@contextmanager
def embedded_world() -> Iterator[World]:
    """Without any server; nothing is left of it."""
    with embedded_postgres() as server, world_on(server.url(), "memory://trip", "example") as world:
        yield world


@click.command()
@click.option("--embedded", is_flag=True, help="Without servers: an embedded PostgreSQL, a broker in memory.")
def main(embedded: bool) -> None:
    """Order four trips at once, approve the dear one, and show how they end and what is booked in the end."""
    verdict = Verdict()
    with embedded_world() if embedded else real_world() as world:
        sagas = [world.order(wanted) for wanted in TRIPS]
        world.approve(sagas[1], "Dana")
        world.wait(*sagas)
        for wanted, saga, end in zip(TRIPS, sagas, ENDS, strict=True):
            status, why = world.end(saga)
            click.echo(f"{wanted.number:<16} {status:<12} {why}".rstrip())
            verdict.equal(f"the end of {wanted.number}", status, end)
        for name in world.databases:
            click.echo(f"{name:<10} " + "; ".join(" ".join(row) for row in world.booked(name)))
        for name in ("airline", "hotel"):
            verdict.equal(f"what the {name} has booked", sorted(world.booked(name)), OSLO)
        paid = sorted(cents for _, cents, _ in world.booked("payments"))
        verdict.equal("what is paid", paid, ["90000", "900000"])
    verdict.tell("whoever can travel has seat and room, and nobody else has anything")


if __name__ == "__main__":
    main()
