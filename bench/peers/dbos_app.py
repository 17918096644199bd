"""A DBOS application: the order as a workflow of three local steps, each of which writes its effect.

Started from a queue, or through a door on a loopback socket (a number a line; `ok` once the start is durable), which is
what an application's own web handler does with `DBOS.start_workflow`.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import psycopg
from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.order import order

APPLICATION: Final = "bench"
QUEUE: Final = "orders"
WORKFLOW: Final = "place-order"
POLLING_S: Final = 0.1  # Not less: each look at the queue is two transactions, also when nothing waits.
EFFECT: Final = "INSERT INTO {}.effects (saga_id, number) VALUES (%s, %s)"
RESERVED: Final = EFFECT.format("inventory")
CHARGED: Final = EFFECT.format("payments")
DISPATCHED: Final = EFFECT.format("shipping")
RESULT: Final = {"reference": "R-2026-000123"}


class Store:
    """The application's own database, a connection for each thread: an effect is one round trip."""

    def __init__(self) -> None:
        self.url = ""
        self._here = threading.local()

    def write(self, statement: str, number: str) -> None:
        """One statement that commits by itself."""
        if not hasattr(self._here, "connection"):
            self._here.connection = psycopg.connect(self.url, autocommit=True)
        self._here.connection.execute(statement, (workflow_id(number), number))


store = Store()


def workflow_id(number: str) -> str:
    """The workflow of an order."""
    return str(uuid5(NAMESPACE_URL, number))


@DBOS.step()
def reserve(number: str, _lines: list[dict[str, Any]]) -> dict[str, str]:
    """Put goods aside."""
    store.write(RESERVED, number)
    return RESULT


@DBOS.step()
def charge(number: str, _card: str, _amount_cents: int) -> dict[str, str]:
    """Take the money."""
    store.write(CHARGED, number)
    return RESULT


@DBOS.step()
def dispatch(number: str, _address: dict[str, str]) -> dict[str, str]:
    """Hand the parcel over."""
    store.write(DISPATCHED, number)
    return RESULT


@DBOS.workflow(name=WORKFLOW)
def place_order(placed: dict[str, Any]) -> None:
    """The benchmark's order."""
    number = placed["number"]
    reserve(number, placed["lines"])
    charge(number, placed["card"], placed["amount_cents"])
    dispatch(number, placed["address"])


def main() -> None:
    """Run until killed: SYSTEM_DATABASE APPLICATION_DATABASE PORT THREADS EXECUTOR."""
    system, store.url, port, threads, executor = sys.argv[1:]
    config: DBOSConfig = {
        "name": APPLICATION,
        "application_version": "1",
        "executor_id": executor,
        "system_database_url": system,
        "max_executor_threads": int(threads),
        # Enough for each thread, the queue's and the background's; the default is 20.
        "sys_db_pool_size": int(threads) + 8,
        # By default each use of a connection first asks whether it lives: a round trip more for every statement.
        "db_engine_kwargs": {"pool_pre_ping": False},
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    # No more claimed than there are threads for, and a few in reserve: another executor may be free.
    DBOS.register_queue(QUEUE, worker_concurrency=2 * int(threads), polling_interval_sec=POLLING_S)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        while True:
            door, _ = listener.accept()
            threading.Thread(target=_serve, args=(door,), daemon=True).start()


def _serve(door: socket.socket) -> None:
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with door, door.makefile("rb") as lines:
        for line in lines:
            number = line.decode().strip()
            with SetWorkflowID(workflow_id(number)):
                DBOS.start_workflow(place_order, order(number))
            door.sendall(b"ok\n")


if __name__ == "__main__":
    main()
