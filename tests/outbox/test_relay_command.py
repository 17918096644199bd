"""`amends relay` as an operator meets it: settings, signals, metrics, and what it says when something is missing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from amends.db.config import Environment
from amends.db.errors import InvalidSetting
from amends.db.private_postgres import free_port
from amends.outbox.config import relay_settings
from amends.outbox.ports import Broker
from tests.outbox.rows import ids, message, rows, stored
from tests.outbox.sending import nothing_arrives
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

URLS = {
    "AMENDS_DATABASE_URL": "postgresql+psycopg://shop:secret@db/shop",
    "AMENDS_BROKER_URL": "pyamqp://u:p@mq//",
}


@contextmanager
def running(*options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`amends relay` in a process of its own, ended afterwards."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "amends.db.cli", "relay", *options],
        env={**ours, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def scraped(port: int) -> dict[str, float]:
    """The metrics as Prometheus reads them; none before the port is open."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def test_it_carries_the_outbox_shows_its_numbers_and_stops_on_sigterm(
    participant_database: Engine, broker: Broker, rabbit: RabbitServer, prefix: str
) -> None:
    """Invariant 17: the gauges agree with the table. Guard: OutboxGauges reads the table at every scrape."""
    database, queue, port = participant_database, f"{prefix}.queue", free_port()
    assert nothing_arrives(broker, queue)  # consuming from it declares it
    stored(database, [message(n, queue) for n in range(20)])
    parked, start, lost = stored(
        database,
        [
            message(1, exchange=f"{prefix}.missing"),
            message(2, queue, needs_receipt=True),
            message(3, f"{prefix}.nobody"),
        ],
    )
    url = database.url.render_as_string(hide_password=False)

    with running(
        "--metrics-port", str(port), "--service", "shop", "--prefix", prefix,
        AMENDS_DATABASE_URL=url, AMENDS_BROKER_URL=rabbit.url,
    ) as process:  # fmt: skip
        eventually(lambda: ids(database) == [parked.id, start.id, lost.id], what="the rows to go")
        numbers = eventually(
            lambda: (
                (now := scraped(port)).get("amends_outbox_parked_rows") == 1
                and now["amends_outbox_awaiting_receipt"] == now["amends_broker_up"] == 1
                and now
            ),
            what="the gauges",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        said = process.stderr.read()

    assert numbers["amends_outbox_pending"] == 1
    assert 0 < numbers["amends_outbox_oldest_age_seconds"] < 60
    assert (numbers["amends_broker_up"], numbers["amends_database_up"]) == (1, 1)
    assert numbers['amends_outbox_confirmed_total{way="sweep"}'] >= 21
    assert numbers['amends_outbox_published_total{way="sweep"}'] >= 22
    assert numbers["amends_outbox_returned_total"] >= 1
    assert numbers["amends_outbox_parked_total"] == 1
    assert numbers['amends_outbox_confirm_seconds_count{way="sweep"}'] >= 21
    assert numbers['amends_outbox_publish_batch_size_count{way="sweep"}'] >= 1
    assert "relay_ready" in said
    assert "relay_stopped" in said
    assert all(row.leased_until is None for row in rows(database))
    password = re.search(r"://[^@]*@", rabbit.url)
    assert password is not None
    assert password.group() not in said


def test_a_database_without_an_outbox_is_told_with_the_mend(database_url: str, rabbit: RabbitServer) -> None:
    with running(AMENDS_DATABASE_URL=database_url, AMENDS_BROKER_URL=rabbit.url) as process:
        assert process.wait(DEADLINE_S) == 1
        assert process.stderr is not None
        assert "amends migrate" in process.stderr.read()


def test_it_waits_for_a_database_and_a_broker_that_are_away(tmp_path: Path) -> None:
    """E5: neither exits nor spins; it answers Prometheus meanwhile."""
    port, nowhere = free_port(), free_port()
    with running(
        "--metrics-port", str(port),
        AMENDS_DATABASE_URL=f"postgresql+psycopg://nobody@127.0.0.1:{nowhere}/none",
        AMENDS_BROKER_URL=f"pyamqp://guest:guest@127.0.0.1:{nowhere}//",
    ) as process:  # fmt: skip
        numbers = eventually(lambda: scraped(port), what="the metrics")
        assert (numbers["amends_broker_up"], numbers["amends_database_up"]) == (0, 0)
        assert "amends_outbox_pending" not in numbers
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_settings_come_from_the_command_line_first_then_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://file@db/shop\n")
    environment = Environment({
        "AMENDS_DATABASE_URL_FILE": str(secret),
        "AMENDS_BROKER_URL": URLS["AMENDS_BROKER_URL"],
        "AMENDS_PREFIX": "shop",
        "AMENDS_METRICS_PORT": "9100",
    })  # fmt: skip

    from_environment = relay_settings(environment)
    from_options = relay_settings(
        environment, database="sqlite:///shop.db", prefix="other", service="front", metrics_port=9200
    )

    assert from_environment.database_url == "postgresql+psycopg://file@db/shop"
    assert (from_environment.prefix, from_environment.service, from_environment.metrics_port) == (
        "shop",
        None,
        9100,
    )
    assert from_environment.table == "amends_outbox"
    assert from_options.database_url == "sqlite:///shop.db"
    assert (from_options.prefix, from_options.service, from_options.metrics_port) == ("other", "front", 9200)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AMENDS_DATABASE_URL": ""}, "AMENDS_DATABASE_URL is not set"),
        ({"AMENDS_DATABASE_URL": "oracle://u:hunter2@h/d"}, "AMENDS_DATABASE_URL"),
        ({"AMENDS_BROKER_URL": ""}, "AMENDS_BROKER_URL is not set"),
        ({"AMENDS_BROKER_URL": "redis://:hunter2@h"}, "AMENDS_BROKER_URL.*pyamqp://"),
        ({"AMENDS_PREFIX": "no spaces"}, "AMENDS_PREFIX must begin with a letter"),
        ({"AMENDS_SERVICE": "9lives"}, "AMENDS_SERVICE must begin with a letter"),
        ({"AMENDS_METRICS_PORT": "70000"}, "AMENDS_METRICS_PORT must be a whole number from 1 to 65535"),
        ({"AMENDS_LOG_FORMAT": "xml"}, "AMENDS_LOG_FORMAT must be one of: text, json"),
        ({"AMENDS_CRASH_AT": "nowhere"}, "AMENDS_CRASH_AT must be one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_told_by_name_and_without_its_secret(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSetting, match=said) as caught:
        relay_settings(Environment({**URLS, **changed}))

    assert "hunter2" not in str(caught.value)


def test_a_bad_table_name_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="--table"):
        relay_settings(Environment(URLS), table='x"; DROP TABLE orders')


def test_settings_do_not_show_their_secrets() -> None:
    assert "secret" not in repr(relay_settings(Environment(URLS)))
