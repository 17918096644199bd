"""Runs the example: `python -m examples.plain`, in the repository's root, on PostgreSQL, MariaDB, SQLite and RabbitMQ.

Ten sales, two by each way to have a transaction open: a small one, which all three services book, and a dear one, which
the last refuses, so that the others cancel. Your own MariaDB or MySQL does as well: AMENDS_TEST_MYSQL_URL.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
import psycopg
import psycopg2
import pymysql
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from amends.db import participant as participant_tables
from amends.db.engines import open_engine, transaction
from amends.db.migrate import migrate
from amends.outbox.broker import open_broker
from amends.participants import Client
from examples.plain import ways
from examples.plain.books import booked, books, metadata, sold
from examples.plain.saga import KINDS, Sale, sale
from examples.running import running, wait_for_end
from examples.servers import servers
from examples.verdict import Verdict
from tests.servers.mariadb import mariadb_server

FINE, DEAR = 1_000, 20_000
LIMIT = 10_000


def sell(databases: Mapping[str, Engine], prefix: str) -> list[str]:
    """Sell two articles by each way; the ids of their sagas."""
    clients = {name: Client(service=name, prefix=prefix) for name in KINDS}
    postgresql, mariadb, sqlite = (databases[name].url for name in KINDS)
    plain_url = postgresql.set(drivername="postgresql").render_as_string(hide_password=False)
    found: list[str] = []

    def two(name: str, way: Callable[..., str], opened: Any, service: str) -> None:
        with closing(opened):
            for cents in (FINE, DEAR):
                found.append(way(opened, clients[service], Sale(f"{name}-{cents}", cents)))
        click.echo(f"sold by {name}")

    two("psycopg", ways.by_psycopg, psycopg.connect(plain_url), "postgresql")
    two("psycopg2", ways.by_psycopg2, psycopg2.connect(plain_url), "postgresql")
    two("session", ways.by_session, Session(databases["postgresql"]), "postgresql")
    two("sqlite3", ways.by_sqlite3, sqlite3.connect(str(sqlite.database)), "sqlite")
    connection = pymysql.connect(
        host=mariadb.host,
        port=mariadb.port or 3306,
        user=mariadb.username,
        password=mariadb.password or "",
        database=mariadb.database,
    )
    two("pymysql", ways.by_pymysql, connection, "mariadb")
    return found


@contextmanager
def open_databases(postgresql_url: str) -> Iterator[dict[str, Engine]]:
    """One of each kind, with amends' tables."""
    with ExitStack() as stack:
        maria = stack.enter_context(mariadb_server())
        mariadb_url = maria.create_database()
        stack.callback(maria.drop_database, mariadb_url)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = (postgresql_url, mariadb_url, f"sqlite:///{Path(folder) / 'books.sqlite'}")
        engines = {name: open_engine(url) for name, url in zip(KINDS, urls, strict=True)}
        for engine in engines.values():
            stack.callback(engine.dispose)
            participant_tables.create(engine)
        yield engines


def balance(engine: Engine) -> tuple[int, int, int]:
    """How many bookings there are, what they come to, and how many articles were sold here."""
    with transaction(engine) as connection:
        rows, cents = connection.execute(
            select(func.count(), func.sum(booked.c.cents)).select_from(booked)
        ).one()
        return rows, int(cents), int(connection.scalar(select(func.count()).select_from(sold)) or 0)


@click.command()
def main() -> None:
    """Sell, and look into the books."""
    verdict = Verdict()
    with servers() as at, open_databases(at.database()) as databases, ExitStack() as stack:
        coordinator = open_engine(at.database())
        stack.callback(coordinator.dispose)
        migrate(coordinator, "coordinator")
        broker = open_broker(at.broker_url)
        stack.callback(broker.close)
        limits = {KINDS[-1]: LIMIT}
        services = [books(name, limits.get(name)) for name in KINDS]
        with running(
            coordinator,
            databases,
            broker,
            prefix=at.prefix,
            sagas=[sale],
            participants=services,
            tables=metadata,
        ):
            sagas = sell(databases, at.prefix)
            wait_for_end(coordinator, sagas, timeout_s=60)
        with transaction(coordinator) as connection:
            ends = connection.exec_driver_sql("SELECT status, count(*) FROM amends.saga GROUP BY status")
            verdict.equal("how the sales ended", dict(map(tuple, ends)), {"completed": 5, "compensated": 5})
        found = {name: balance(engine) for name, engine in databases.items()}
        for name, (rows, cents, _) in found.items():
            click.echo(f"{name}: {rows} bookings, {cents} cents")
        wanted = {"postgresql": (15, 5_000, 6), "mariadb": (15, 5_000, 2), "sqlite": (5, 5_000, 2)}
        verdict.equal("what stands in the books", found, wanted)
    verdict.tell(
        "five ways to start and three kinds of database: every sale is in all of the books, or in none"
    )


if __name__ == "__main__":
    main()
