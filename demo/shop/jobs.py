"""What the shop of docker-compose.yml needs beside its services: `python -m amends.demo.shop.jobs furnish|place`.

Settings by environment: AMENDS_DATABASE_URL (the part's own database), AMENDS_PREFIX; each also as NAME_FILE.
"""

from __future__ import annotations

from typing import Final

import click
from sqlalchemy import Engine, func, select

from amends.db.config import Environment
from amends.db.engines import open_engine, transaction
from amends.demo.orders import own_orders, supply
from amends.demo.shop import front
from amends.demo.shop.install import METADATA, install

PARTS: Final = ("front", *METADATA)
STOCKED_ORDERS: Final = 10_000  # Goods and cards suffice for so many; later orders run out of them.
PLACED_AT_ONCE: Final = 50


@click.group()
def jobs() -> None:
    """Furnish the shop's databases, and place orders in it."""


@jobs.command()
@click.argument("part", type=click.Choice(PARTS))
def furnish(part: str) -> None:
    """Make a part's own tables and fill them. The tables of amends are `amends migrate --participant`'s.

    Changes nothing where they stand already.
    """
    engine = _database()
    try:
        with transaction(engine) as connection:
            if part == "front":
                front.metadata.create_all(connection)
            else:
                install(part, connection, supply(own_orders(), STOCKED_ORDERS, faults=True))
    finally:
        engine.dispose()
    click.echo(f"the shop's {part} is furnished")


@jobs.command()
@click.option("--count", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many.")
def place(count: int) -> None:
    """Place the next orders at the front: each with the start of its saga, in one transaction."""
    engine = _database()
    shop = front.Front(engine, prefix=Environment.of_this_process().text("AMENDS_PREFIX") or "amends")
    try:
        with transaction(engine) as connection:
            before = connection.execute(select(func.count()).select_from(front.orders)).scalar_one()
        orders = supply(own_orders(), before + count, faults=True)[before:]
        for first in range(0, len(orders), PLACED_AT_ONCE):
            shop.place(orders[first : first + PLACED_AT_ONCE])
    finally:
        engine.dispose()
    click.echo(f"{count} orders placed, {before + count} in all")


def _database() -> Engine:
    return open_engine(Environment.of_this_process().database_url(), pool_max=2, label="amends shop jobs")


if __name__ == "__main__":
    jobs(prog_name="python -m amends.demo.shop.jobs")
