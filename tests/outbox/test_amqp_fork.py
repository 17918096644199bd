"""A process that forks with open connections: the child gets its own, the parent's stay whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer

# In a process of its own, since pytest's has threads, with which forking is no good.
FORKING = """
import os, sys
sys.path[:0] = [{root!r}]
from amends.outbox.broker import open_broker
from amends.outbox.ports import Fate
from tests.outbox.driving import fates, message, outgoing, received, settlements

queue = {queue!r}
broker = open_broker({url!r})
publisher, consumer = broker.publisher(), broker.consumer([queue], prefetch=10)
publisher.publish(outgoing([message(queue, b"parent")]))
held = received(consumer, 1)

child = os.fork()
if child == 0:
    assert publisher.settled(0.1) == [], "the parent's answers are not the child's"
    publisher.publish(outgoing([message(queue, b"child")], first=2))
    assert fates(settlements(publisher, 1)) == {{2: Fate.CONFIRMED}}
    publisher.close()
    consumer.requeue([one.tag for one in held])
    consumer.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0

assert fates(settlements(publisher, 1)) == {{1: Fate.CONFIRMED}}
publisher.publish(outgoing([message(queue, b"again")], first=3))
assert fates(settlements(publisher, 1)) == {{3: Fate.CONFIRMED}}
rest = received(consumer, 2)
assert {{one.body for one in rest}} == {{b"child", b"again"}}
assert not any(one.redelivered for one in (*held, *rest)), "the child hung up for the parent"
consumer.ack([one.tag for one in (*held, *rest)])
consumer.close()
publisher.close()
"""


def test_a_forked_child_connects_anew_and_its_parent_notices_nothing(
    rabbit: RabbitServer, prefix: str
) -> None:
    """Fails without `Link.inherited`: two processes would write into one connection, and the first to leave ends it."""
    root = str(Path(__file__).parents[2])
    script = FORKING.format(root=root, queue=f"{prefix}.queue", url=rabbit.url)

    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )

    assert run.returncode == 0, run.stderr
