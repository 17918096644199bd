"""`kill -9` at every crash point of relay and sender: nothing is lost, and everything ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy import Engine

from amends.db.crashpoints import CRASH_POINTS
from amends.outbox import wire
from amends.outbox.message import Message, OutboxRow
from amends.outbox.ports import Broker, receipts_queue
from amends.outbox.storage import OwnerRules
from tests.outbox.crashing import LEASE_S, SERVICE
from tests.outbox.relaying import quick, relaying
from tests.outbox.rows import ids, message, one, stored
from tests.outbox.sending import all_that_arrived
from tests.servers.rabbit import RabbitServer
from tests.waiting import DEADLINE_S, eventually

SWEEP = [point for point in CRASH_POINTS if point.startswith("relay.") and "receipt" not in point]
RECEIPT = [point for point in CRASH_POINTS if point.startswith("relay.receipt.")]
MEMORY = [
    ("memory", "participant.publish.before"),
    ("memory", "participant.publish.after"),
    ("memory", "participant.confirm.after"),
    # The sender deletes by itself, or the process with its next transaction.
    ("memory", "participant.delete.before"),
    ("memory", "participant.delete.after"),
    ("taken", "participant.delete.before"),
    ("taken", "participant.delete.after"),
]


def killed_at(point: str, way: str, database: Engine, rabbit: RabbitServer, prefix: str) -> None:
    """Run a process until it kills itself at the point."""
    command = [sys.executable, "-m", "tests.outbox.crashing", way]
    url = database.url.render_as_string(hide_password=False)
    ended = subprocess.run([*command, url, rabbit.url, prefix, point], timeout=DEADLINE_S, check=False)
    assert ended.returncode == -signal.SIGKILL, f"{point} was not visited"


def drained(database: Engine, broker: Broker, prefix: str) -> None:
    """Another relay cleans up."""
    limits = quick(lease_s=LEASE_S)
    with relaying(
        database,
        broker,
        prefix,
        f"{prefix}.queue",
        limits=limits,
        service=SERVICE,
        rules=OwnerRules(dead_s=1.0),
    ):
        eventually(lambda: ids(database) == [], what="the rows to go")


@pytest.mark.parametrize("point", SWEEP)
def test_a_relay_killed_in_its_sweep_loses_nothing(
    point: str, participant_database: Engine, broker: Broker, rabbit: RabbitServer, prefix: str
) -> None:
    """Guard: delete after confirm only, and leases that run out."""
    database = participant_database
    sent = stored(database, [message(n, f"{prefix}.queue") for n in range(30)])

    killed_at(point, "sweep", database, rabbit, prefix)
    drained(database, broker, prefix)

    came = {delivery.message_id for delivery in all_that_arrived(broker, f"{prefix}.queue")}
    assert came == {row.message.message_id for row in sent}


def receipt(start: OutboxRow, queue: str) -> Message:
    """What the coordinator answers to a start."""
    body = wire.Receipt(message_id=start.message.message_id, row=start.id)
    return Message(routing_key=queue, type=wire.RECEIPT, body=wire.encode(body))


@pytest.mark.parametrize("point", RECEIPT)
def test_a_relay_killed_over_a_receipt_gets_it_again(
    point: str, participant_database: Engine, broker: Broker, rabbit: RabbitServer, prefix: str
) -> None:
    """Guard: the ack of receipts in Receipts._take; nothing writes it before the next `receive` (see test_receipts)."""
    database = participant_database
    queue = receipts_queue(prefix, SERVICE)
    starts = stored(database, [message(n, f"{prefix}.queue", needs_receipt=True) for n in (1, 2)])
    with relaying(database, broker, prefix, f"{prefix}.queue"):
        for start in starts:
            eventually(lambda id_=start.id: one(database, id_).sent_at, what="the start to be sent")
    stored(database, [receipt(starts[0], queue)])

    killed_at(point, "sweep", database, rabbit, prefix)

    # Behind the first in its queue: once it has worked, the first was taken again.
    stored(database, [receipt(starts[1], queue)])
    drained(database, broker, prefix)
    assert all_that_arrived(broker, queue) == []


@pytest.mark.parametrize(("way", "point"), MEMORY)
def test_a_process_killed_while_it_sends_from_memory_loses_nothing(
    way: str, point: str, participant_database: Engine, broker: Broker, rabbit: RabbitServer, prefix: str
) -> None:
    """Its rows are swept once its owner is found dead (O2)."""
    killed_at(point, way, participant_database, rabbit, prefix)

    drained(participant_database, broker, prefix)

    bodies = {delivery.body for delivery in all_that_arrived(broker, f"{prefix}.queue")}
    assert bodies == {b'{"n":%d}' % n for n in range(20)}
