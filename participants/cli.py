"""`amends participant`: runs the workers of one participant."""

from __future__ import annotations

import sys

import click

from amends.db.crashpoints import arm
from amends.db.logs import set_up_logging
from amends.outbox.tracing import start_tracing
from amends.participants.config import participant_settings
from amends.participants.loading import load_participant
from amends.participants.worker.settings import WorkerSettings

_DEFAULTS = WorkerSettings()


@click.command()
@click.argument("reference", metavar="MODULE:OBJECT")
@click.option(
    "--database", metavar="URL", help="The participant's own; otherwise AMENDS_DATABASE_URL or its _FILE."
)
@click.option("--broker", metavar="URL", help="Otherwise AMENDS_BROKER_URL or its _FILE.")
@click.option("--prefix", metavar="NAME", help="What queues begin with: AMENDS_PREFIX, else amends.")
@click.option(
    "--service", metavar="NAME", help="Whose receipts to listen for: AMENDS_SERVICE, else the participant."
)
@click.option("--threads", default=_DEFAULTS.threads, show_default=True, help="That run do.")
@click.option(
    "--undo-threads", default=_DEFAULTS.undo_threads, show_default=True, help="That run undo and confirm."
)
@click.option(
    "--processes", default=_DEFAULTS.processes, show_default=True, help="Each with so many threads."
)
@click.option(
    "--prefetch", default=_DEFAULTS.prefetch, show_default=True, help="Messages at hand for each thread."
)
@click.option(
    "--batch", default=_DEFAULTS.batch, show_default=True, help="New commands that share a transaction."
)
@click.option(
    "--time-limit", default=_DEFAULTS.time_limit_s, show_default=True, help="Seconds a handler may take."
)
@click.option(
    "--grace", default=_DEFAULTS.grace_s, show_default=True, help="Seconds to finish in when told to stop."
)
@click.option(
    "--relay/--no-relay", default=True, show_default=True, help="Also sweep this database's outbox."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    help="For Prometheus: AMENDS_METRICS_PORT. Of several processes the first's; the others take the ports after it.",
)
def participant(
    reference: str,
    database: str | None,
    broker: str | None,
    prefix: str | None,
    service: str | None,
    threads: int,
    undo_threads: int,
    processes: int,
    prefetch: int,
    batch: int,
    time_limit: float,
    grace: float,
    relay: bool,
    metrics_port: int | None,
) -> None:
    """Obey the commands of a participant: `amends participant shop.payments:payments`.

    Any number may run side by side. SIGTERM and SIGINT let them finish what is under way and hand the rest back.
    AMENDS_LOG_FORMAT: text, json. AMENDS_SIGNING_KEYS, AMENDS_UNSIGNED, AMENDS_CODEC: signed and coded messages.
    """
    settings = participant_settings(
        database=database, broker=broker, prefix=prefix, service=service, metrics_port=metrics_port
    )
    loaded = load_participant(reference)
    set_up_logging(settings.log_format)
    arm(settings.crash_at)
    if settings.tracing:
        start_tracing()
    try:
        worker = loaded.worker(
            database=settings.database_url,
            broker=settings.broker_url,
            prefix=settings.prefix,
            service=settings.service,
            metrics_port=settings.metrics_port,
            seal=settings.seal,
            threads=threads,
            undo_threads=undo_threads,
            processes=processes,
            prefetch=prefetch,
            batch=batch,
            time_limit_s=time_limit,
            grace_s=grace,
            relay=relay,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(worker.run())
