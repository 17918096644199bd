"""A process that is to die at a crash point: `python -m tests.outbox.crashing sweep|memory URL URL PREFIX POINT`.

It takes the rows it finds (`sweep`), or commits and offers twenty of its own (`memory`), and runs until it is killed.
"""

from __future__ import annotations

import sys
import time

from amends.db.crashpoints import arm
from amends.db.engines import open_engine, transaction
from amends.outbox.broker import open_broker
from tests.outbox.relaying import quick, relay_of
from tests.outbox.rows import STORE, message
from tests.outbox.sending import never_idle, offered, started

SERVICE = "shop"
LEASE_S = 1.0


def main(way: str, database_url: str, broker_url: str, prefix: str, point: str) -> None:
    """Work until the crash point kills this process; at most a minute."""
    database = open_engine(database_url)
    broker = open_broker(broker_url)
    queue = f"{prefix}.queue"
    arm(point)
    if way == "sweep":
        relay = relay_of(
            database, broker, prefix, queue, service=SERVICE, limits=quick(lease_s=LEASE_S, batch_rows_max=10)
        )
        relay.start()
    else:
        limits = never_idle() if way == "taken" else None
        with started(database, broker, queue, crash_scope="participant", limits=limits) as sender:
            offered(database, sender, [message(n, queue) for n in range(20)])
            while way == "taken":
                taken = sender.take_confirmed()
                with transaction(database) as connection:
                    STORE.delete(connection, taken)
                sender.deleted(taken)
            time.sleep(60)
    time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
