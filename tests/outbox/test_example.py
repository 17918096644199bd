"""examples/outbox_only runs: without any server as its own process, and on PostgreSQL and RabbitMQ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine, select

from amends.db.engines import open_engine, transaction
from amends.outbox.ports import Broker
from examples.outbox_only.__main__ import run
from examples.outbox_only.parcels import QUEUE, parcel
from tests.outbox.rows import ids
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

ROOT = Path(__file__).parents[2]


def test_the_example_runs_without_a_server() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples.outbox_only", "--embedded"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("packed parcel") == 3
    assert "not packed, and not told: a parcel needs an address" in ended.stdout
    assert ended.stdout.count("the world heard: parcel") == 3


def test_the_example_runs_on_real_servers(database_url: str, broker: Broker, rabbit: RabbitServer) -> None:
    database: Engine = open_engine(database_url)
    rabbit.forget(QUEUE)

    events = run(database, broker)

    with transaction(database) as connection:
        packed = {row.id: row.address for row in connection.execute(select(parcel))}
    assert {event["parcel"]: event["address"] for event in events} == packed
    to_elm_street = [event["parcel"] for event in events if event["address"] == "1 Elm Street"]
    assert to_elm_street == sorted(id_ for id_, address in packed.items() if address == "1 Elm Street")
    eventually(lambda: ids(database) == [], what="the outbox to be empty")
    database.dispose()
    rabbit.forget(QUEUE)
