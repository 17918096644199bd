"""`amends coordinator`: the one place where a coordinator process is wired together."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import click
from sqlalchemy import Engine

from amends.coordinator.catalog import Catalog
from amends.coordinator.cli.loading import load_saga
from amends.coordinator.config import CoordinatorSettings, coordinator_settings
from amends.coordinator.engine.coordinator import Coordinator
from amends.coordinator.gauges import read_gauges
from amends.coordinator.http.app import build_app
from amends.coordinator.http.reading import THREADS
from amends.coordinator.http.server import HttpServer
from amends.coordinator.language import Saga
from amends.coordinator.metrics import DatabaseGauges, PrometheusObserver, exposition, new_registry
from amends.coordinator.registering import register_checked, within
from amends.db.crashpoints import arm
from amends.db.engines import open_engine
from amends.db.logs import set_up_logging
from amends.db.schema import require_schema
from amends.outbox.broker import open_broker
from amends.outbox.metrics import PrometheusOutbox
from amends.outbox.tracing import start_tracing

log = logging.getLogger(__name__)

FILES: Final = 65_536
LOOK_S: Final = 1.0
OBJECTS: Final = 20_000  # made and not gone again, before the garbage collector looks at them
CHECKS_S: Final = 5.0  # of a start-up, for looks at definitions that are new


@click.command()
@click.option(
    "--apply",
    "sagas",
    multiple=True,
    metavar="MODULE:SAGA",
    help="Register at start, after a quick look at what is new; repeatable.",
)
@click.option("--host", help="Where to listen. Default: AMENDS_HTTP_HOST, else 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Default: AMENDS_HTTP_PORT, else 8080. 0: any free one."
)
def coordinator(sagas: tuple[str, ...], host: str | None, port: int | None) -> None:
    """Run a coordinator: engine, relay and HTTP door in this process.

    Settings by environment: AMENDS_DATABASE_URL, AMENDS_BROKER_URL, AMENDS_PREFIX, AMENDS_HTTP_HOST,
    AMENDS_HTTP_PORT, AMENDS_TOKENS, AMENDS_LOG_FORMAT (text, json), AMENDS_SIGNING_KEYS, AMENDS_UNSIGNED (refuse,
    accept), AMENDS_CODEC. Secrets also as NAME_FILE. Any number may
    share one database and broker. SIGTERM and SIGINT let it finish what is under way.
    """
    settings = coordinator_settings(host=host, port=port)
    loaded = [load_saga(reference) for reference in sagas]
    set_up_logging(settings.log_format)
    arm(settings.crash_at)
    if settings.tracing:
        start_tracing()
    _allow_many_files()
    _collect_seldom()
    with _told_to_stop() as stop:
        serve(settings, loaded, stop)


def serve(settings: CoordinatorSettings, sagas: list[Saga], stop: threading.Event) -> None:
    """Run until `stop` is set.

    Raises: SchemaOutdated, StoreUnavailable, VersionConflict, CannotListen before anything runs; ClickException
    if a part of the coordinator dies.
    """
    database = open_engine(settings.database_url, label="amends coordinator")
    doors = open_engine(settings.database_url, pool_max=THREADS, label="amends doors")
    try:
        require_schema(database, "coordinator")
        catalog = Catalog(database)
        _apply(catalog, sagas)
        _run(settings, database, doors, stop)
    finally:
        doors.dispose()
        database.dispose()


def _apply(catalog: Catalog, sagas: list[Saga]) -> None:
    """Register what this coordinator was given. What is new is looked at quickly, as far as there is time."""
    until = time.monotonic() + CHECKS_S
    for saga in sagas:
        # Not what stood already: who went back to an older version means it to stay, whoever restarts.
        done, checked = register_checked(
            catalog,
            saga.definition,
            actor="coordinator",
            only_if_new=True,
            bounds=within(until - time.monotonic()),
        )
        log.info(
            "definition_applied",
            extra={
                "saga": done.name,
                "version": done.version,
                "is_new": done.created,
                "is_checked": checked is not None,
            },
        )


def _run(settings: CoordinatorSettings, database: Engine, doors: Engine, stop: threading.Event) -> None:
    registry = new_registry()
    broker = open_broker(settings.broker_url, seal=settings.seal)
    engine = Coordinator(
        database,
        broker,
        prefix=settings.prefix,
        observer=PrometheusObserver(registry),
        outbox_observer=PrometheusOutbox(registry),
    )
    registry.register(DatabaseGauges(lambda: read_gauges(doors), broker_up=lambda: engine.status().broker_up))
    app = build_app(engine, doors, settings.tokens, scrape=lambda: exposition(registry))
    server = HttpServer(app, host=settings.host, port=settings.port)
    engine.start()
    try:
        server.start()
        log.info("coordinator_ready", extra={"prefix": settings.prefix, "url": server.url})
        watch(engine, server, stop)
    finally:
        log.info("coordinator_stopping")
        # The door first: what it was asked is still decided and answered.
        server.stop()
        engine.stop()
        broker.close()
        log.info("coordinator_stopped")


def _collect_seldom() -> None:
    """What stands by now stays; what a batch leaves goes by itself (decision 0095): look for circles less often."""
    gc.freeze()
    gc.set_threshold(OBJECTS, 20, 20)


def watch(engine: Coordinator, server: HttpServer, stop: threading.Event) -> None:
    """Wait for `stop`.

    Raises: ClickException for a part that died, which cannot be mended from within: whoever started this process
    starts it anew.
    """
    while not stop.wait(LOOK_S):
        if not engine.status().running:
            raise click.ClickException("a thread of the coordinator died; its log tells why")
        if not server.alive:
            raise click.ClickException("the HTTP server died; its log tells why")


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_many_files() -> None:
    """Ten thousand long polls are ten thousand sockets: take as many files as this process is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
