"""The databases of one run, made on a server and dropped at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from uuid import uuid4

from sqlalchemy import Engine, make_url

from amends.db import participant
from amends.db.engines import database_url, open_engine, transaction
from amends.db.migrate import migrate
from amends.demo.evidence import Databases
from amends.demo.shop import front
from amends.demo.shop.definition import Order
from amends.demo.shop.install import install

PARTS: Final = ("coordinator", "front", "inventory", "payments", "shipping")
POOL_MAX: Final = 12


@contextmanager
def made_databases(server_url: str, orders: Sequence[Order], *, faults: bool) -> Iterator[Databases]:
    """Five databases beside the given one, with their tables, goods and cards for these orders; gone at the end.

    Raises: StoreUnavailable; UnsupportedDatabase.
    """
    run = f"amends_demo_{uuid4().hex[:8]}"
    server = open_engine(server_url, pool_max=1).execution_options(isolation_level="AUTOCOMMIT")
    with ExitStack() as stack:
        stack.callback(server.dispose)
        engines: dict[str, Engine] = {}
        for part in PARTS:
            name = f"{run}_{part}"
            stack.callback(_drop, server, name)
            _run(server, f'CREATE DATABASE "{name}"')
            url = make_url(database_url(server_url)).set(database=name)
            engines[part] = open_engine(url, pool_max=POOL_MAX, label=f"amends demo {part}")
            stack.callback(engines[part].dispose)
        databases = Databases(**engines)
        _furnish(databases, orders, faults=faults)
        yield databases


def url_of(engine: Engine) -> str:
    """Where another process finds this database; it holds the password."""
    return engine.url.render_as_string(hide_password=False)


def _furnish(databases: Databases, orders: Sequence[Order], *, faults: bool) -> None:
    migrate(databases.coordinator, "coordinator")
    participant.create(databases.front)
    with transaction(databases.front) as connection:
        front.metadata.create_all(connection)
    for name, engine in databases.participants().items():
        participant.create(engine)
        with transaction(engine) as connection:
            install(name, connection, orders, faults=faults)


def _drop(server: Engine, name: str) -> None:
    server.dispose()  # Its connection is as old as the run; the server may have been restarted since.
    _run(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _run(server: Engine, statement: str) -> None:
    with transaction(server) as connection:
        connection.exec_driver_sql(statement)
