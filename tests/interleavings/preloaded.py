"""A service that starts sagas, loaded once before its server forks: `gunicorn --preload`, or a program that forks.

As services do, it uses its database before the fork too, and lets each child connect anew. The SDK needs no such care:
it holds neither connection nor thread.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from amends.outbox import Message, put
from amends.participants import Client

PREFIX: Final = os.environ["SERVICE_PREFIX"]
engine = create_engine(os.environ["SERVICE_DATABASE"])
os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
client = Client("shop", prefix=PREFIX)


def place(key: str) -> None:
    """One order: a saga, and a message that tells of it."""
    with Session(engine) as session, session.begin():
        client.start(session, "pay", {}, key=key)
        put(session, Message(routing_key=f"{PREFIX}.placed", type="placed", body=b"{}", correlation_id=key))


place("the parent's")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Place the order that the query names; answer which process did."""
    place(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def fork(key: str) -> None:
    """Place an order in a child, and one in a child of that."""
    child = os.fork()
    if child == 0:
        place(key)
        grandchild = os.fork()
        if grandchild == 0:
            place(f"{key}-child")
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit(f"the child {key} failed")


def main() -> None:
    """Fork in both ways, and go on placing orders in between."""
    fork("forked")
    place("between")
    process = multiprocessing.get_context("fork").Process(target=place, args=("multiprocessing",))
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit("the process failed")
    place("after")


if __name__ == "__main__":
    main()
