"""The outbox of a service, looked at in its own database: what `amends outbox` does with --database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click
from sqlalchemy import Connection, MetaData

from amends.db.config import Environment
from amends.db.engines import open_engine, transaction
from amends.db.tables.outbox import outbox_table, owner_table
from amends.outbox.putting import TABLE
from amends.outbox.storage import ParkedRow
from amends.outbox.store import OutboxStore

PAGE_ROWS: Final = 200


@click.command()
@click.option("--database", metavar="URL", help="Whose outbox; otherwise AMENDS_DATABASE_URL or its _FILE.")
@click.option("--table", default=TABLE, show_default=True, metavar="NAME", help="The outbox table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def stats(database: str | None, table: str, as_json: bool) -> None:
    """Count what stands in a service's outbox: what waits, what awaits a receipt, what is parked."""
    with opened(database or Environment.of_this_process().database_url(), table) as (store, connection):
        found = store.stats(connection)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(
        f"{found.pending} pending (oldest {found.oldest_age_s:.1f} s), "
        f"{found.awaiting_receipt} await a receipt, {found.parked} parked"
    )
    if found.parked:
        click.echo("what is parked: amends outbox list --database URL")


@click.command()
@click.option("--database", metavar="URL", required=True, help="Whose outbox.")
@click.option("--table", default=TABLE, show_default=True, metavar="NAME", help="The outbox table.")
@click.option(
    "--id", "ids", type=click.IntRange(min=1), multiple=True, required=True, help="This row; repeatable."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(database: str, table: str, ids: tuple[int, ...], yes: bool) -> None:
    """Delete parked messages of a service for good: whoever waits for them waits in vain."""
    if not yes:
        click.confirm("They cannot be had back. Drop them?", abort=True, err=True)
    with opened(database, table) as (store, connection):
        dropped = store.drop_parked(connection, ids)
    click.echo(f"{dropped} rows are dropped")


def parked_in(database: str, table: str, rows_max: int) -> list[ParkedRow]:
    """The parked rows of a service, by id. Raises: OutboxNotInstalled, StoreUnavailable, UnsupportedDatabase."""
    found: list[ParkedRow] = []
    with opened(database, table) as (store, connection):
        while len(found) < rows_max:
            after = found[-1].id if found else 0
            rows = store.parked(connection, min(PAGE_ROWS, rows_max - len(found)), after)
            if not rows:
                break
            found += rows
    return found


def retried_in(database: str, table: str, ids: Sequence[int] | None) -> int:
    """Let a service's parked rows go again, these or all; how many. Raises: as `parked_in`."""
    with opened(database, table) as (store, connection):
        return store.retry_parked(connection, ids)


@contextmanager
def opened(database: str, table: str) -> Iterator[tuple[OutboxStore, Connection]]:
    """The outbox table in this database, and a transaction. Raises: UnsupportedDatabase, StoreUnavailable."""
    engine = open_engine(database, pool_max=1, label="amends outbox")
    metadata = MetaData()
    store = OutboxStore(outbox_table(table, metadata), owner_table("amends_owner", metadata))
    try:
        with transaction(engine) as connection:
            yield store, connection
    finally:
        engine.dispose()
