"""`amends relay`: the one place where a relay process is wired together."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import click
from sqlalchemy import Engine, MetaData

from amends.db.crashpoints import arm
from amends.db.engines import open_engine, where
from amends.db.errors import StoreUnavailable
from amends.db.logs import set_up_logging
from amends.db.tables.outbox import outbox_table, owner_table
from amends.outbox.broker import open_broker
from amends.outbox.config import RelaySettings, relay_settings
from amends.outbox.metrics import MetricsServer, OutboxGauges, PrometheusOutbox
from amends.outbox.putting import TABLE
from amends.outbox.relay import Relay
from amends.outbox.store import OutboxStore
from amends.outbox.tracing import start_tracing

log = logging.getLogger(__name__)

_OWNER_TABLE: Final = "amends_owner"


@click.command()
@click.option("--database", metavar="URL", help="Whose outbox; otherwise AMENDS_DATABASE_URL or its _FILE.")
@click.option("--broker", metavar="URL", help="Where to; otherwise AMENDS_BROKER_URL or its _FILE.")
@click.option(
    "--service", metavar="NAME", help="Whose receipts to listen for, if messages need any: AMENDS_SERVICE."
)
@click.option("--prefix", metavar="NAME", help="What queues begin with: AMENDS_PREFIX, else amends.")
@click.option("--metrics-port", type=click.IntRange(1, 65_535), help="For Prometheus: AMENDS_METRICS_PORT.")
@click.option("--table", default=TABLE, show_default=True, metavar="NAME", help="The outbox table.")
def relay(
    database: str | None,
    broker: str | None,
    service: str | None,
    prefix: str | None,
    metrics_port: int | None,
    table: str,
) -> None:
    """Carry a service's outbox to the broker.

    Any number may share a table; one is enough. SIGTERM and SIGINT let it write down what it has sent.
    AMENDS_LOG_FORMAT: text, json.
    """
    settings = relay_settings(
        database=database,
        broker=broker,
        prefix=prefix,
        service=service,
        table=table,
        metrics_port=metrics_port,
    )
    set_up_logging(settings.log_format)
    arm(settings.crash_at)
    if settings.tracing:
        start_tracing()
    run(settings)


def run(settings: RelaySettings) -> None:
    """Run a relay until a signal.

    Raises: OutboxNotInstalled if the database answers and has no outbox; OSError if the port is taken;
    ClickException if a part of the relay dies.
    """
    database = open_engine(settings.database_url, pool_max=4, label="amends relay")
    broker = open_broker(settings.broker_url, name="amends relay", seal=settings.seal)
    metrics = MetricsServer()
    metadata = MetaData()
    relay = Relay(
        database,
        broker,
        store=OutboxStore(outbox_table(settings.table, metadata), owner_table(_OWNER_TABLE, metadata)),
        prefix=settings.prefix,
        service=settings.service,
        label=f"relay {settings.service or settings.prefix}",
        observer=PrometheusOutbox(metrics.registry),
    )
    metrics.registry.register(
        OutboxGauges(
            relay.stats,
            broker_up=lambda: relay.status().broker_up,
            database_up=lambda: relay.status().database_up,
        )
    )
    try:
        _look(database, relay)
        if settings.metrics_port is not None:
            metrics.start(settings.metrics_port)
        with _stopped_by_signals(relay):
            log.info("relay_ready", extra={"database": where(database), "service": settings.service})
            relay.run()
        if relay.died:
            raise click.ClickException("a thread of the relay died; its log tells why")
    finally:
        metrics.close()
        broker.close()
        database.dispose()


def _look(database: Engine, relay: Relay) -> None:
    """Say at once that the outbox is missing. A database that is away is waited for later."""
    try:
        relay.stats()
    except StoreUnavailable as error:
        log.warning("database_away", extra={"database": where(database), "error": str(error)})


@contextmanager
def _stopped_by_signals(relay: Relay) -> Iterator[None]:
    """SIGTERM and SIGINT end the relay; a second one ends the process at once."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        relay.ask_to_stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
