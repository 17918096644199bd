"""`amends demo`: a shop's orders, with everything that can go wrong with them, from a command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from amends.demo.errors import BadOrders
from amends.demo.orders import own_orders, read_orders, supply
from amends.demo.report import json_line, shown_run
from amends.demo.shop.definition import Order
from amends.demo.signals import interruptible
from amends.demo.stage import Stage

SAGAS_MAX: Final = 100_000


@click.command()
@click.option(
    "--orders",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Orders of your own, one JSON object a line. Default: the 1,000 that come with amends.",
)
@click.option(
    "--sagas", type=click.IntRange(1, SAGAS_MAX), help="How many orders; they come round again if need be."
)
@click.option(
    "--faults",
    type=click.Choice(["default", "none"]),
    default="default",
    show_default=True,
    help="default: cards are declined, stock runs out, the carrier fails, answers stay away.",
)
@click.option(
    "--database", metavar="URL", help="A PostgreSQL server: databases are made beside this one, and dropped."
)
@click.option("--broker", metavar="URL", help="A RabbitMQ, such as pyamqp://user:password@host:5672//")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output; the rest goes to stderr."
)
def demo(
    file: Path | None, sagas: int | None, faults: str, database: str | None, broker: str | None, as_json: bool
) -> None:
    """Run a shop's orders through sagas, break things on the way, and check that money and stock balance.

    Without --database and --broker all runs in this process: an embedded PostgreSQL and a broker in memory. With
    them the coordinator and the three participants are processes of their own. Nothing is left behind. Exit status 0
    only if every order ended, none is stuck, and every invariant holds.
    """
    if (database is None) != (broker is None):
        raise click.UsageError(
            "--database and --broker go together: give both, or neither for an embedded run"
        )
    with interruptible():
        orders = chosen_orders(file, sagas, faults=faults == "default")
        with stage_for(database, broker, orders, faults=faults == "default") as stage:
            outcome = shown_run(stage, orders, faults=faults == "default", console=Console(stderr=as_json))
    if as_json:
        click.echo(json_line(outcome))
    sys.exit(0 if outcome.passed else 1)


def chosen_orders(file: Path | None, sagas: int | None, *, faults: bool) -> list[Order]:
    """The orders to run. Raises: BadParameter, naming file, line and field."""
    try:
        orders = own_orders() if file is None else read_orders(file)
    except BadOrders as error:
        raise click.BadParameter(str(error), param_hint="--orders") from error
    return supply(orders, sagas, faults=faults)


def stage_for(
    database: str | None, broker: str | None, orders: Sequence[Order], *, faults: bool
) -> AbstractContextManager[Stage]:
    """Where these orders are to run."""
    if database is None or broker is None:
        from amends.demo.embedded import embedded_stage

        return embedded_stage(orders, faults=faults)
    from amends.demo.processes import process_stage

    return process_stage(database, broker, orders, faults=faults)
