"""Runs the tutorial's shop: `python -m examples.order`, in the repository's root, on PostgreSQL and RabbitMQ.

A coordinator, three participants and the shop's relay, each a process as in production; four orders, three of which
fail somewhere and are amended.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click
from sqlalchemy import text
from sqlalchemy.orm import Session

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.guarded import Guarded
from amends.db.migrate import migrate
from amends.participants import Client
from examples.order import tables
from examples.order.saga import Order, place_order
from examples.running import wait_for_end
from examples.servers import Servers, servers
from examples.verdict import Verdict

SERVICES = ("payments", "inventory", "shipping")
ORDERS = {
    "fine": Order("tea", "4111", 400, "1 Elm Street"),
    "too dear": Order("tea", "4111", 99_900, "1 Elm Street"),
    "unknown": Order("gold", "4111", 100, "1 Elm Street"),
    "nowhere": Order("tea", "4111", 100, ""),
}
ENDS = {"fine": "completed", "too dear": "compensated", "unknown": "compensated", "nowhere": "compensated"}


def started(stack: ExitStack, directory: Path, environment: Mapping[str, str], *words: str) -> None:
    """An `amends` command that runs until the stack ends, and never outlives us."""
    process = Guarded(
        [sys.executable, "-m", "amends.db.cli", *words],
        directory=Path.cwd(),
        log=directory / f"{words[0]}-{len(os.listdir(directory))}.log",
        env={**os.environ, **environment},
    )
    stack.callback(process.close)
    process.start()


def run_shop(at: Servers, stack: ExitStack) -> dict[str, str]:
    """Everything that runs; the databases' URLs."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    urls = {name: at.database() for name in ("amends", "shop", *SERVICES)}
    coordinator = open_engine(urls["amends"])
    migrate(coordinator, "coordinator")
    coordinator.dispose()
    for name in ("shop", *SERVICES):
        engine = open_engine(urls[name])
        participant_tables.create(engine)
        engine.dispose()
    every = {"AMENDS_BROKER_URL": at.broker_url, "AMENDS_PREFIX": at.prefix}
    started(
        stack, directory, {**every, "AMENDS_DATABASE_URL": urls["amends"]},
        "coordinator", "--apply", "examples.order.saga:place_order", "--port", "0",
    )  # fmt: skip
    for name in SERVICES:
        tables.make(name, urls[name])
        where = {**every, "AMENDS_DATABASE_URL": urls[name]}
        started(stack, directory, where, "participant", f"examples.order.{name}:{name}")
    started(stack, directory, {**every, "AMENDS_DATABASE_URL": urls["shop"]}, "relay", "--service", "shop")
    return urls


def main() -> None:
    """Place the orders, and look at what stands in the books afterwards."""
    verdict = Verdict()
    with servers() as at, ExitStack() as stack:
        urls = run_shop(at, stack)
        shop, coordinator = open_engine(urls["shop"]), open_engine(urls["amends"])
        client = Client(service="shop", prefix=at.prefix)
        with Session(shop) as session, session.begin():
            sagas = {
                number: client.start(session, place_order, order, key=number)
                for number, order in ORDERS.items()
            }
        wait_for_end(coordinator, list(sagas.values()), 60.0)
        for number, saga in sagas.items():
            with transaction(coordinator) as connection:
                found = text("SELECT status, coalesce(error, '') FROM amends.saga WHERE id = :id")
                status, why = connection.execute(found, {"id": saga}).one()
            click.echo(f"{number:<10} {status:<12} {why}".rstrip())
            verdict.equal(f"the end of order {number!r}", status, ENDS[number])
        for name, query, wanted in (
            ("payments", "SELECT cents FROM account", [(600,)]),
            ("inventory", "SELECT pieces FROM shelf", [(2,)]),
            ("shipping", "SELECT what, whereto FROM parcel", [("one tea", "1 Elm Street")]),
        ):
            engine = open_engine(urls[name])
            with transaction(engine) as connection:
                verdict.equal(
                    f"the books of {name}", [tuple(row) for row in connection.execute(text(query))], wanted
                )
            engine.dispose()
        shop.dispose()
        coordinator.dispose()
    verdict.tell("one order paid, packed and sent; three that left nothing behind")


if __name__ == "__main__":
    main()
