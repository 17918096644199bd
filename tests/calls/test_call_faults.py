"""Calls of processes that are killed: the server's in mid-call, the client's while it waits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from tests.calls.conftest import MakeClient, StartWorker
from tests.calls.servers import Add, calculator
from tests.calls.test_call import DONE, rows
from tests.servers.rabbit import RabbitServer
from tests.waiting import eventually

UNDER_WAY = """
SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()
"""
_CALL = """
import sys
from amends.participants import Client
client = Client("doomed", prefix=sys.argv[1], broker=sys.argv[2])
client.call("calculator", "slow", {"a": 1500, "b": 0}, timeout=60)
"""


@contextmanager
def program(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program of its own; killed at the end."""
    started = subprocess.Popen([sys.executable, *arguments], env={**os.environ, **environment})
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_server_killed_in_mid_call_answers_once_it_is_back(
    participant_database: Engine, make_client: MakeClient, rabbit: RabbitServer, prefix: str, tmp_path: Path
) -> None:
    """The command comes again, and its effect is there once (B1)."""
    server = ("-m", "amends.db.cli", "participant", "tests.calls.servers:calculator", "--prefix", prefix)
    environment = {
        "AMENDS_DATABASE_URL": participant_database.url.render_as_string(hide_password=False),
        "AMENDS_BROKER_URL": rabbit.url,
        "CALLS_MARKER": str(tmp_path / "died"),
    }
    client = make_client()
    with program(*server, **environment) as first, program(*server, **environment):
        answer = client.call("calculator", "die_once", Add(0, 0), timeout=80)
        status = first.poll()
        assert answer == "alive"
    assert rows(participant_database, "SELECT count(*) FROM tally") == 1
    assert (tmp_path / "died").exists()
    assert status in (None, -9)


def test_a_client_killed_while_it_waits_leaves_nothing_behind(
    start_worker: StartWorker, participant_database: Engine, rabbit: RabbitServer, prefix: str
) -> None:
    """Its mailbox goes with it, and the answer that finds nobody is dropped (O4)."""
    start_worker(calculator)
    with program("-c", _CALL, prefix, rabbit.url):
        eventually(
            lambda: any(".calls.doomed." in queue for queue in rabbit.queues(prefix)), what="the mailbox"
        )
        # The call is under way once the worker holds its row.
        eventually(lambda: rows(participant_database, UNDER_WAY), what="the call to be under way")
    eventually(lambda: rows(participant_database, DONE) == 1)
    eventually(lambda: rows(participant_database, "SELECT count(*) FROM amends_outbox") == 0)
    eventually(
        lambda: not any(".calls." in queue for queue in rabbit.queues(prefix)), what="the mailbox to go"
    )
