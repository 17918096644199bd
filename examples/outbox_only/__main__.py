"""Runs the example: `python -m examples.outbox_only`, in the repository's root.

Without options everything is in this process: a SQLite file and a broker in memory. With `--database` and `--broker`
it packs into your PostgreSQL and tells your RabbitMQ. A service of yours would leave out the relay here and run
`amends relay` beside it.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.db import participant as outbox_tables
from amends.db.engines import open_engine
from amends.db.tables.participant import outbox, owner
from amends.outbox import OutboxStore, Relay, open_broker
from amends.outbox.ports import Broker, Consumer, Topology
from examples.outbox_only.parcels import QUEUE, NoSuchAddress, metadata, pack

ADDRESSES = ("1 Elm Street", "2 Oak Lane", "", "1 Elm Street")


def run(database: Engine, broker: Broker) -> list[dict[str, object]]:
    """Pack some parcels, one of which fails, and answer what the world heard of them."""
    outbox_tables.create(database)
    metadata.create_all(database)
    broker.declare(Topology(queues=frozenset({QUEUE})))
    relay = Relay(database, broker, store=OutboxStore(outbox, owner), prefix="parcels")
    relay.start()
    world = broker.consumer([QUEUE], prefetch=10)
    try:
        for address in ADDRESSES:
            try:
                with Session(database) as session, session.begin():
                    click.echo(f"packed parcel {pack(session, address)} to {address}")
            except NoSuchAddress as error:
                click.echo(f"not packed, and not told: {error}")
        return [json.loads(body) for body in heard(world, len(ADDRESSES) - 1)]
    finally:
        world.close()
        relay.stop()


def heard(world: Consumer, count: int) -> list[bytes]:
    """So many events, acknowledged."""
    bodies: list[bytes] = []
    while len(bodies) < count:
        for delivery in world.receive(1.0):
            bodies.append(delivery.body)
            world.ack([delivery.tag])
    world.receive(0.0)  # Sends the last acknowledgement.
    return bodies


@click.command()
@click.option(
    "--database", metavar="URL", help="A PostgreSQL or SQLite database; otherwise a file of its own."
)
@click.option("--broker", "broker_url", metavar="URL", default="memory://parcels", show_default=True)
def main(database: str | None, broker_url: str) -> None:
    """Pack parcels, and show what the world heard."""
    with ExitStack() as stack:
        if database is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            database = f"sqlite:///{Path(directory) / 'parcels.sqlite'}"
        engine = open_engine(database)
        stack.callback(engine.dispose)
        broker = open_broker(broker_url)
        stack.callback(broker.close)
        for event in run(engine, broker):
            click.echo(f"the world heard: parcel {event['parcel']} goes to {event['address']}")


if __name__ == "__main__":
    main()
