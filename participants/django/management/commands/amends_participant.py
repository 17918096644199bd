"""`manage.py amends_participant shop.payments:payments`: a worker whose handlers use Django's ORM."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from amends.db.errors import DatabaseError
from amends.participants.config import seal_from_environment
from amends.participants.django.database import worker_url
from amends.participants.django.settings import AmendsSettings, amends_settings
from amends.participants.errors import InvalidHandler, NotLoadable
from amends.participants.loading import load_participant
from amends.participants.participant import Participant
from amends.participants.worker.settings import WorkerSettings
from amends.participants.worker.worker import Worker

_DEFAULTS: Final = WorkerSettings()
_SETTINGS: Final = (
    "threads",
    "undo_threads",
    "processes",
    "prefetch",
    "batch",
    "time_limit_s",
    "grace_s",
    "relay",
)


class Command(BaseCommand):
    """Any number may run side by side."""

    help = (
        "Obey the commands of a participant: module:object, by default AMENDS['PARTICIPANT']. Its handlers use the ORM "
        "inside the worker's transaction. SIGTERM and SIGINT let them finish and hand the rest back."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """As those of `amends participant`; where the database is, Django's settings say."""
        parser.add_argument("participant", nargs="?", metavar="module:object")
        for name, kind, what in (
            ("threads", int, "that run do"),
            ("undo-threads", int, "that run undo and confirm"),
            ("processes", int, "each with so many threads"),
            ("prefetch", int, "messages at hand for each thread"),
            ("batch", int, "new commands that share a transaction"),
            ("time-limit", float, "seconds a handler may take"),
            ("grace", float, "seconds to finish in when told to stop"),
        ):
            field = name.replace("-", "_") + ("_s" if kind is float else "")
            default = getattr(_DEFAULTS, field)
            told = f"{what} (default: {default:g})"
            parser.add_argument(f"--{name}", type=kind, dest=field, default=default, help=told)
        parser.add_argument(
            "--no-relay", dest="relay", action="store_false", help="leave the outbox to `amends relay`"
        )
        parser.add_argument("--metrics-port", type=int, help="where Prometheus may look")

    def handle(
        self, *_arguments: Any, participant: str | None, metrics_port: int | None, **options: Any
    ) -> None:
        """Work until told to stop. Raises: CommandError, which says what is wrong."""
        settings = amends_settings()
        try:
            worker = worker_of(
                _loaded(participant or settings.participant),
                settings,
                metrics_port=metrics_port,
                **{name: options[name] for name in _SETTINGS},
            )
            # A fork would share what Django has opened here.
            connections.close_all()
            status = worker.run()
        except (NotLoadable, InvalidHandler, DatabaseError, ValueError) as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)


def worker_of(participant: Participant, settings: AmendsSettings, **options: Any) -> Worker:
    """A worker on the database of `settings`, which it lends to the ORM while a handler runs.

    Raises: CommandError, UnsupportedDatabase, InvalidHandler, ValueError.
    """
    if settings.broker_url is None:
        raise CommandError(
            'settings.AMENDS has no BROKER_URL; add one, as "pyamqp://user:password@host:5672//"'
        )
    url = worker_url(settings.database)
    # Only now: it needs psycopg.
    from amends.participants.django.lending import lending
    from amends.participants.surrounding import surrounded

    return surrounded(participant, lending(settings.database)).worker(
        database=url,
        broker=settings.broker_url,
        prefix=settings.prefix,
        service=settings.service,
        seal=seal_from_environment(),
        **options,
    )


def _loaded(reference: str | None) -> Participant:
    if reference is None:
        raise CommandError("which participant? Give module:object, or set AMENDS['PARTICIPANT']")
    return load_participant(reference)
