"""Runs the example: `python -m examples.outbox_only`, in the repository's root.

It packs into a PostgreSQL and tells a RabbitMQ; with `--embedded` into a SQLite file, and tells a broker in memory. A
service of yours would leave out the relay here and run `amends relay` beside it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from amends.db import participant as outbox_tables
from amends.db.engines import open_engine, transaction
from amends.db.tables.participant import outbox, owner
from amends.outbox import OutboxStore, Relay, open_broker
from amends.outbox.ports import Broker, Consumer, Topology
from examples.outbox_only.parcels import QUEUE, NoSuchAddress, metadata, pack, parcel
from examples.servers import servers
from examples.verdict import Verdict

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


@contextmanager
def open_world(embedded: bool) -> Iterator[tuple[Engine, Broker]]:
    """A database and a broker, until the block ends."""
    with ExitStack() as stack:
        if embedded:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            database, broker_url = f"sqlite:///{Path(directory) / 'parcels.sqlite'}", "memory://parcels"
        else:
            at = stack.enter_context(servers())
            stack.callback(at.rabbit.forget, QUEUE)
            database, broker_url = at.database(), at.broker_url
        engine = open_engine(database)
        stack.callback(engine.dispose)
        broker = open_broker(broker_url)
        stack.callback(broker.close)
        yield engine, broker


@click.command()
@click.option("--embedded", is_flag=True, help="Without servers: a SQLite file, a broker in memory.")
def main(embedded: bool) -> None:
    """Pack parcels, and show what the world heard."""
    verdict = Verdict()
    with open_world(embedded) as (engine, broker):
        events = run(engine, broker)
        for event in events:
            click.echo(f"the world heard: parcel {event['parcel']} goes to {event['address']}")
        with transaction(engine) as connection:
            packed = {row.id: row.address for row in connection.execute(select(parcel))}
        verdict.equal("what was heard", {event["parcel"]: event["address"] for event in events}, packed)
    verdict.tell("the world heard of every parcel that was packed, and of no other")


if __name__ == "__main__":
    main()
