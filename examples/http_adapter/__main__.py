"""Runs the example: `python -m examples.http_adapter`, in the repository's root.

The billing service and the adapter before it are processes of their own; coordinator and warehouse are in this one. The
adapter's barrier is a SQLite file.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
from sqlalchemy import select

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.migrate import migrate
from amends.outbox.broker import open_broker
from amends.participants import Client
from examples.http_adapter.saga import Order, metadata, order, picked, warehouse
from examples.running import running, wait_for_end
from examples.servers import Servers, servers
from examples.verdict import Verdict

HERE: Final = Path(__file__).parent
ORDERS: Final = [
    Order(
        number=f"{kind} {number}",
        cents=20_000 if kind == "dear" else 1_000,
        sku="gold" if kind == "lacking" else "tea",
    )
    for number in range(8)
    for kind in ("good", "dear", "lacking")
]
_UP_S: Final = 30.0
_END_S: Final = 60.0


@contextmanager
def program(*arguments: str | Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a Python program until the block ends."""
    running_ = subprocess.Popen(
        [sys.executable, *map(str, arguments)], env={**os.environ, **(environment or {})}
    )
    try:
        yield
    finally:
        running_.terminate()
        running_.wait()


@contextmanager
def billed(at: Servers, directory: Path) -> Iterator[Path]:
    """The billing service and its adapter; gives the service's database."""
    key, port = directory / "billing-key", directory / "billing.port"
    key.write_text(secrets.token_hex())
    with program(HERE / "billing.py", port, key):
        deadline = time.monotonic() + _UP_S
        while not (port.exists() and port.read_text()):
            if time.monotonic() > deadline:
                raise click.ClickException("the billing service does not come up")
            time.sleep(0.05)
        declaration = directory / "billing.toml"
        declaration.write_text(
            (HERE / "billing.toml")
            .read_text()
            .replace(":8085", f":{port.read_text()}")
            .replace("/run/secrets/billing-key", str(key))
        )
        barrier = f"sqlite:///{directory / 'adapter.sqlite'}"
        engine = open_engine(barrier)
        participant_tables.create(engine)
        engine.dispose()
        with program(
            *("-m", "amends.db.cli", "participant", declaration, "--prefix", at.prefix),
            environment={"AMENDS_DATABASE_URL": barrier, "AMENDS_BROKER_URL": at.broker_url},
        ):
            yield port.with_suffix(".sqlite")


def main() -> None:
    """Order good, dear and lacking things, and compare what is paid with what is picked."""
    verdict = Verdict()
    with ExitStack() as stack:
        at = stack.enter_context(servers())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        books = stack.enter_context(billed(at, directory))
        coordinator, database = open_engine(at.database()), open_engine(at.database())
        stack.callback(coordinator.dispose)
        stack.callback(database.dispose)
        migrate(coordinator, "coordinator")
        participant_tables.create(database)
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)
        stack.enter_context(
            running(
                coordinator,
                {"warehouse": database},
                broker,
                prefix=at.prefix,
                sagas=[order],
                participants=[warehouse],
                tables=metadata,
            )
        )
        client = Client(service="warehouse", prefix=at.prefix)
        with transaction(database) as connection:
            sagas = [client.start(connection, order, one, key=one.number) for one in ORDERS]
        wait_for_end(coordinator, sagas, _END_S)
        charges = sqlite3.connect(books).execute("SELECT number, state FROM charge").fetchall()
        with transaction(database) as connection:
            out = set(connection.execute(select(picked.c.number)).scalars())
    click.echo(f"{len(ORDERS)} orders; billing has {dict(Counter(state for _, state in charges))}")
    good = {one.number for one in ORDERS if one.number.startswith("good")}
    lacking = {one.number for one in ORDERS if one.number.startswith("lacking")}
    verdict.equal("what is picked", out, good)
    verdict.equal("what is paid, once each", sorted(n for n, s in charges if s == "charged"), sorted(good))
    verdict.equal("what is paid back", {n for n, s in charges if s == "voided" and n}, lacking)
    verdict.tell(
        "every order that was picked is paid once, although billing hung up on each third, and no other is"
    )


if __name__ == "__main__":
    main()
