"""`amends dev`: the command, and what it tells."""

from __future__ import annotations

import re
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from amends.dev.house import COORDINATOR, Order
from amends.dev.reloading import Reloading
from amends.dev.servers import ChosenBroker, chosen_broker, kept_postgres
from amends.dev.state import FOLDER, State, held_state


@click.command()
@click.argument("references", metavar="[MODULE:OBJECT]...", nargs=-1)
@click.option(
    "--service", "services", metavar="NAME", multiple=True, help="Starts sagas from elsewhere; repeatable."
)
@click.option(
    "--broker",
    default="auto",
    show_default=True,
    help="auto: RabbitMQ if it is installed or Docker has it, else in this process; memory; or a URL.",
)
@click.option("--prefix", default="amends", show_default=True, metavar="NAME", help="What queues begin with.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the coordinator listens.")
@click.option("--port", type=click.IntRange(1, 65_535), default=8080, show_default=True)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Where the databases stay.",
)
@click.option(
    "--reload/--no-reload", default=True, show_default=True, help="Begin anew when a source changes."
)
def dev(
    references: tuple[str, ...],
    services: tuple[str, ...],
    broker: str,
    prefix: str,
    host: str,
    port: int,
    state: Path,
    reload: bool,
) -> None:
    """Run everything here: `amends dev shop.payments:payments shop.sagas:place_order --service shop`.

    PostgreSQL with a database for each participant and service, the coordinator, and the participants and sagas that
    are named. No server needs to be installed. For development: whoever is on this machine can reach the databases.
    """
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda _number, _frame: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with ExitStack() as stack:
            held = stack.enter_context(held_state(state))
            server = stack.enter_context(kept_postgres(held))
            chosen = stack.enter_context(chosen_broker(broker))
            order = Order(
                server=server.url(),
                broker=chosen.url,
                prefix=prefix,
                host=host,
                port=port,
                references=references,
                services=services,
            )
            _tell(order, held, chosen)
            status = Reloading(order, Path.cwd(), held.folder).run(stop, reload=reload)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(status)


def masked(url: str) -> str:
    """The URL without its password, unless that is everybody's."""
    return re.sub(r"(://[^:/@]+:)(?!guest@)[^@/]*@", r"\1***@", url)


def _tell(order: Order, state: State, broker: ChosenBroker) -> None:
    """Where everything is, and what other processes need to join."""
    server = order.server.rpartition("/")[0]
    url = f"http://{order.host}:{order.port}"
    variables = {"AMENDS_URL": url, "AMENDS_PREFIX": order.prefix}
    if broker.shared:
        variables["AMENDS_BROKER_URL"] = broker.url
    state.write_environment(variables)
    click.echo(
        f"PostgreSQL   {server}/NAME   a database for each participant and service; kept in {state.folder}"
    )
    click.echo(f"Broker       {masked(broker.url)}   {broker.words}")
    click.echo(f"Coordinator  {url}   its database: {COORDINATOR}")
    for reference in order.references:
        click.echo(f"Runs         {reference}")
    for service in order.services:
        click.echo(f"Service      {service}: AMENDS_DATABASE_URL={server}/{service} AMENDS_SERVICE={service}")
    click.echo(f"Other shells: source {state.environment}")
    if not broker.shared:
        click.echo(
            "Other processes can start sagas (--service); participants must be named here: the broker is ours."
        )
