"""Runs the example: `python -m examples.conditional_commit`, in the repository's root.

Two of the databases are an embedded PostgreSQL's, the third is a SQLite file; coordinator, participants and a broker
in memory are all in this process.
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
from examples.conditional_commit.serving import World, served
from examples.conditional_commit.tasks import Run

SIDE_BY_SIDE = (
    Run(run="monday"),
    Run(run="tuesday", failing=50),
    Run(run="wednesday"),
    Run(run="thursday", failing=50),
)


@contextmanager
def embedded_world() -> Iterator[World]:
    """The example's world without any server; nothing is left of it."""
    with embedded_postgres() as server, tempfile.TemporaryDirectory() as directory:
        admin = open_engine(server.url()).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in ("coordinator", "north", "south"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        coordinator = open_engine(server.url("coordinator"))
        databases = {
            "north": open_engine(server.url("north")),
            "south": open_engine(server.url("south")),
            "archive": open_engine(f"sqlite:///{Path(directory) / 'archive.sqlite'}"),
        }
        migrate(coordinator, "coordinator")
        for database in databases.values():
            participant_tables.create(database)
        with served(
            coordinator, databases, open_broker("memory://conditional-commit"), prefix="example"
        ) as world:
            yield world
        for engine in (admin, coordinator, *databases.values()):
            engine.dispose()


def main() -> None:
    """Run four at once, two of which fail, and show what stands in the databases afterwards."""
    with embedded_world() as world:
        sagas = [world.start(run) for run in SIDE_BY_SIDE]
        world.wait(*sagas)
        for run in SIDE_BY_SIDE:
            what = f"task {run.failing} fails" if run.failing else "no task fails"
            counts = ", ".join(f"{name} {count}" for name, count in world.counts(run.run).items())
            click.echo(f"{run.run:<10} {what:<15} rows: {counts}")


if __name__ == "__main__":
    main()
