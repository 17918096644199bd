"""A process that forks after it began to send: servers that preload the application do (O2)."""

from __future__ import annotations

import subprocess
import sys

from sqlalchemy import Engine

from amends.outbox.ports import Broker
from tests.outbox.rows import ids, owners
from tests.outbox.sending import all_that_arrived
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S


def test_a_child_sends_under_a_name_and_a_connection_of_its_own(
    participant_database: Engine, broker: Broker, rabbit: RabbitServer, prefix: str
) -> None:
    """Guard: Sender._after_fork; without it the child waits for a thread it does not have."""
    url = participant_database.url.render_as_string(hide_password=False)

    ended = subprocess.run(
        [sys.executable, "-m", "tests.outbox.forking", url, rabbit.url, f"{prefix}.queue"],
        timeout=DEADLINE_S,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stderr
    names = dict(line.split() for line in ended.stdout.splitlines())
    assert set(names) == {"parent", "child"}
    assert names["parent"] != names["child"]
    bodies = sorted(delivery.body for delivery in all_that_arrived(broker, f"{prefix}.queue"))
    assert bodies == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert ids(participant_database) == []
    assert owners(participant_database) == set()
