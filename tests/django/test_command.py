"""`manage.py amends_participant`: on real PostgreSQL and RabbitMQ, and what it says when it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, make_url, text

from amends.db.errors import UnsupportedDatabase
from amends.outbox.ports import Broker
from amends.outbox.wire import Outcome
from amends.participants import InvalidHandler, Participant
from amends.participants.django.database import worker_url
from amends.participants.django.lending import lending
from amends.participants.surrounding import surrounded
from tests.django.project import databases
from tests.house.sources import ROOT
from tests.participants.coordinator import FakeCoordinator, command
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S

AMENDS = {"SERVICE": "one", "BROKER_URL": "memory://x"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_participant_obeys_until_it_is_told_to_stop(
    postgresql: Engine, rabbit: RabbitServer, broker: Broker, prefix: str, processes: int
) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.django.live_settings",
        "SHOP_DATABASE_URL": postgresql.url.render_as_string(hide_password=False),
        "SHOP_BROKER_URL": rabbit.url,
        "SHOP_PREFIX": prefix,
    }
    coordinator = FakeCoordinator(broker, prefix, "one")
    program = subprocess.Popen(
        [sys.executable, "-m", "django", "amends_participant", "--processes", str(processes)],
        cwd=ROOT,
        env=environment,
    )
    try:
        done = coordinator.ask(command("work", "1"))
        refused = coordinator.ask(command("work", "13"))
        program.send_signal(signal.SIGTERM)
        status = program.wait(DEADLINE_S)
    finally:
        program.kill()
        program.wait()
        coordinator.close()

    assert (done.outcome, refused.outcome, status) == (Outcome.DONE, Outcome.REFUSED, 0)
    with postgresql.connect() as connection:
        assert connection.execute(text("SELECT number FROM shop_order")).scalars().all() == ["1"]


@pytest.mark.parametrize(
    ("amends", "arguments", "why"),
    [
        (AMENDS, [], "which participant"),
        (AMENDS, ["tests.django.programs:two"], "its participants: one"),
        (AMENDS, ["tests.django.programs:one", "--threads", "0"], "threads must be at least 1"),
        ({"SERVICE": "one"}, ["tests.django.programs:one"], "no BROKER_URL"),
        (AMENDS, ["tests.django.programs:one"], "'default'.* is on sqlite"),
    ],
)
def test_it_says_why_it_cannot_start(amends: dict[str, Any], arguments: list[str], why: str) -> None:
    chosen = nullcontext() if "sqlite" in why else databases(default=postgres_entry())
    with chosen, override_settings(AMENDS=amends), pytest.raises(CommandError, match=why):
        call_command("amends_participant", *arguments)


def postgres_entry(**options: Any) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "USER": "u:ser",
        "PASSWORD": "p@ss/word",
        "HOST": "db.example",
        "PORT": "6432",
        **options,
    }


def test_the_worker_connects_as_django_does() -> None:
    """Guard: every part, libpq's options too; without them a worker would fall back to libpq's defaults."""
    options = {
        "sslmode": "require",
        "isolation_level": 3,
        "server_side_binding": True,
        "prepare_threshold": 9,
    }
    with databases(default=postgres_entry(OPTIONS=options)):
        url = make_url(worker_url("default"))

    assert (url.username, url.password, url.host, url.port) == ("u:ser", "p@ss/word", "db.example", 6432)
    assert (url.database, dict(url.query)) == ("shop", {"sslmode": "require"})


def test_a_folder_of_sockets_is_a_host_too() -> None:
    with databases(default=postgres_entry(HOST="/var/run/postgresql")):
        url = make_url(worker_url("default"))

    _, arguments = url.get_dialect()().create_connect_args(url)
    wanted = {"host": "/var/run/postgresql", "port": "6432", "dbname": "shop"}
    assert {name: str(arguments[name]) for name in wanted} == wanted
    assert conninfo_to_dict("", **{name: arguments[name] for name in wanted})


def test_a_role_of_djangos_connections_is_refused() -> None:
    with (
        databases(default=postgres_entry(OPTIONS={"assume_role": "app"})),
        pytest.raises(UnsupportedDatabase, match="log in as that role"),
    ):
        worker_url("default")


def test_async_handlers_are_refused_by_name() -> None:
    """What they await of the ORM runs in another thread, with a connection of its own."""
    participant = Participant("one")

    @participant.command
    async def work(cmd: str) -> None: ...

    with pytest.raises(InvalidHandler, match="do 'work' of participant 'one' is async"):
        surrounded(participant, lending("default"))
