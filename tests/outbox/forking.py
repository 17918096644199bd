"""A process that forks while it sends from memory: `python -m tests.outbox.forking URL URL QUEUE`.

Parent and child each commit and offer a row before and after the fork; each prints its owner ids.
"""

from __future__ import annotations

import os
import sys

from amends.db.engines import open_engine
from amends.outbox.broker import open_broker
from amends.outbox.ports import Topology
from amends.outbox.sender import Sender
from tests.outbox.rows import STORE, ids, message
from tests.outbox.sending import offered
from tests.waiting import eventually


def main(database_url: str, broker_url: str, queue: str) -> None:
    """Fork once."""
    database = open_engine(database_url)
    broker = open_broker(broker_url)
    broker.declare(Topology(queues=frozenset({queue})))
    sender = Sender(broker, STORE, database, label="a forking test")
    sender.start()
    offered(database, sender, [message(1, queue)])
    eventually(lambda: ids(database) == [], what="the first row to go")

    child = os.fork()
    told = "child" if child == 0 else "parent"
    rows = offered(database, sender, [message(2 if child else 3, queue)])
    eventually(lambda: rows[0].id not in ids(database), what=f"the {told}'s row to go")
    print(told, sender.owner, flush=True)  # noqa: T201 - The test reads it.
    sender.stop()
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
