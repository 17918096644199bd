"""The process that `amends dev` begins anew when a source changes: coordinator, participants, relays, in one.

    python -m amends.dev.house

Only it imports the developer's modules. The first line of its standard input is its order, as JSON. It ends when it is
told to (SIGTERM) or when its standard input closes, however its parent ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import click
import msgspec
from sqlalchemy import Engine, make_url

from amends.coordinator.cli.loading import load_saga
from amends.coordinator.cli.serve import serve
from amends.coordinator.config import CoordinatorSettings
from amends.coordinator.errors import NotLoadable as NoSaga
from amends.coordinator.http.tokens import Tokens
from amends.coordinator.language import Saga
from amends.db import participant as tables
from amends.db.cli import is_ours
from amends.db.engines import open_engine, transaction
from amends.db.logs import set_up_logging
from amends.db.migrate import migrate
from amends.db.tables.participant import outbox, owner
from amends.outbox import OutboxStore, Relay, open_broker
from amends.participants import Participant
from amends.participants.errors import NotLoadable as NoParticipant
from amends.participants.loading import load_participant

COORDINATOR: Final = "amends"
_GRACE_S: Final = 5.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: `references` are module:object of participants and sagas, `services` start sagas from elsewhere."""

    server: str
    broker: str
    prefix: str
    host: str
    port: int
    references: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


def run(order: Order, stop: threading.Event) -> None:
    """Run all of it until `stop`. Raises: NotLoadable, and what a coordinator's start raises."""
    loaded = [_load(reference) for reference in order.references]
    sagas = [one for one in loaded if isinstance(one, Saga)]
    participants = [one for one in loaded if isinstance(one, Participant)]
    url = _database(order.server, COORDINATOR, lambda engine: migrate(engine, "coordinator"))
    settings = CoordinatorSettings(
        database_url=url,
        broker_url=order.broker,
        prefix=order.prefix,
        host=order.host,
        port=order.port,
        tokens=Tokens(),
        log_format="text",
        crash_at=None,
    )
    with ExitStack() as running:
        for participant in participants:
            worker = participant.worker(
                database=_database(order.server, participant.name, tables.create),
                broker=order.broker,
                prefix=order.prefix,
                grace_s=_GRACE_S,
            )
            worker.start()
            running.callback(worker.stop)
        for service in dict.fromkeys(order.services):
            if service not in {one.name for one in participants}:
                running.enter_context(_relayed(order, service))
        ended = threading.Event()
        threading.Thread(
            target=_wound_up, args=(stop, running, ended), name="amends-end", daemon=True
        ).start()
        serve(settings, sagas, ended)


def _wound_up(stop: threading.Event, running: ExitStack, ended: threading.Event) -> None:
    """The participants end first: a broker in memory confirms to the coordinator what they have dealt with."""
    stop.wait()
    running.close()
    ended.set()


def _load(reference: str) -> Participant | Saga:
    """The participant or the saga of this name. Raises: NotLoadable."""
    try:
        return load_participant(reference)
    except NoParticipant as error:
        try:
            return load_saga(reference)
        except NoSaga:
            raise error from None


def _database(server: str, name: str, furnish: Callable[[Engine], object]) -> str:
    """The URL of this database, made with its tables if it is missing. Raises: StoreUnavailable, SchemaOutdated."""
    admin = open_engine(server, pool_max=1).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with transaction(admin) as connection:
            known = connection.exec_driver_sql("SELECT datname FROM pg_database").scalars().all()
            if name not in known:
                connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    finally:
        admin.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url)
    try:
        furnish(engine)
    finally:
        engine.dispose()
    return url


def _relayed(order: Order, service: str) -> ExitStack:
    """A relay for the outbox of a service that runs elsewhere; leaving the stack ends it."""
    with ExitStack() as stack:
        engine = open_engine(_database(order.server, service, tables.create))
        stack.callback(engine.dispose)
        broker = open_broker(order.broker)
        stack.callback(broker.close)
        relay = Relay(engine, broker, store=OutboxStore(outbox, owner), prefix=order.prefix, service=service)
        relay.start()
        stack.callback(relay.stop)
        return stack.pop_all()


def _orphaned(stop: threading.Event) -> None:
    """Wait for the end of standard input, then stop."""
    # Not through sys.stdin, whose lock an interpreter that ends would wait for.
    while os.read(0, 1024):
        continue
    stop.set()


def _first_line() -> bytes:
    """Of standard input; not through sys.stdin, as below."""
    line = b""
    while not line.endswith(b"\n") and (some := os.read(0, 4096)):
        line += some
    return line


def main() -> int:
    """Run what standard input orders; the exit status."""
    order = msgspec.json.decode(_first_line(), type=Order)
    set_up_logging("text")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    threading.Thread(target=_orphaned, args=(stop,), name="amends-parent", daemon=True).start()
    try:
        run(order, stop)
    except click.ClickException as error:
        error.show()
        return 1
    except Exception as error:
        if not is_ours(error):
            raise
        click.echo(f"amends: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
