"""Runs the example: `python -m examples.conditional_commit`, in the repository's root.

Two of the databases are PostgreSQL's, the third is a SQLite file, the broker is RabbitMQ; coordinator and participants
are all in this process. `--embedded` needs no server: then PostgreSQL is an embedded one, and the broker in memory.
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
from examples.conditional_commit.serving import World, served
from examples.conditional_commit.tasks import Run
from examples.servers import servers
from examples.verdict import Verdict

SIDE_BY_SIDE = (
    Run(run="monday"),
    Run(run="tuesday", failing=50),
    Run(run="wednesday"),
    Run(run="thursday", failing=50),
)


ALL = {"north": 33, "south": 34, "archive": 33}
NONE = {"north": 0, "south": 0, "archive": 0}


@contextmanager
def world_on(
    coordinator_url: str, north_url: str, south_url: str, broker_url: str, prefix: str
) -> Iterator[World]:
    """The example's world on these servers, whose databases are empty; the archive is a file that goes with it."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        archive_url = f"sqlite:///{Path(directory) / 'archive.sqlite'}"
        urls = {"north": north_url, "south": south_url, "archive": archive_url}
        coordinator = open_engine(coordinator_url)
        databases = {name: open_engine(url) for name, url in urls.items()}
        for engine in (coordinator, *databases.values()):
            stack.callback(engine.dispose)
        migrate(coordinator, "coordinator")
        for database in databases.values():
            participant_tables.create(database)
        broker = open_broker(broker_url)
        stack.callback(broker.close)
        yield stack.enter_context(served(coordinator, databases, broker, prefix=prefix))


@contextmanager
def real_world() -> Iterator[World]:
    """On PostgreSQL and RabbitMQ."""
    with servers() as at:
        coordinator, north, south = (at.database() for _ in range(3))
        with world_on(coordinator, north, south, at.broker_url, at.prefix) as world:
            yield world


@contextmanager
def embedded_world() -> Iterator[World]:
    """Without any server; nothing is left of it."""
    with embedded_postgres() as server:
        admin = open_engine(server.url()).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in ("north", "south"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        urls = (server.url(), server.url("north"), server.url("south"))
        with world_on(*urls, "memory://conditional-commit", "example") as world:
            yield world


@click.command()
@click.option("--embedded", is_flag=True, help="Without servers: an embedded PostgreSQL, a broker in memory.")
def main(embedded: bool) -> None:
    """Run four at once, two of which fail, and show what stands in the databases afterwards."""
    verdict = Verdict()
    with embedded_world() if embedded else real_world() as world:
        sagas = [world.start(run) for run in SIDE_BY_SIDE]
        world.wait(*sagas)
        for run in SIDE_BY_SIDE:
            what = f"task {run.failing} fails" if run.failing else "no task fails"
            found = world.counts(run.run)
            click.echo(
                f"{run.run:<10} {what:<15} rows: {', '.join(f'{name} {rows}' for name, rows in found.items())}"
            )
            verdict.equal(f"the rows of {run.run}", found, NONE if run.failing else ALL)
    verdict.tell("a hundred rows in three databases, or none")


if __name__ == "__main__":
    main()
