"""The transactional outbox: wire contract, table, relay and publishing drivers. Usable without sagas.

    from amends.outbox import Message, put

    with Session(engine) as session, session.begin():
        session.add(order)
        put(session, Message(routing_key="orders", type="order.placed", body=b"{}"))

A relay sends what was committed: `amends relay`, or a `Relay` inside your process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from amends.outbox.broker import open_broker
    from amends.outbox.celery import aapply_async, adelay, apply_async, delay
    from amends.outbox.message import Message, OutboxRow
    from amends.outbox.putting import aput, put
    from amends.outbox.relay import Relay
    from amends.outbox.sender import Sender
    from amends.outbox.store import OutboxStore

__all__ = [
    "Message",
    "OutboxRow",
    "OutboxStore",
    "Relay",
    "Sender",
    "aapply_async",
    "adelay",
    "apply_async",
    "aput",
    "delay",
    "open_broker",
    "put",
]

# Loaded when first asked for: importing a part of this package loads no other.
_HOMES: Final = {
    "Message": "message",
    "OutboxRow": "message",
    "OutboxStore": "store",
    "Relay": "relay",
    "Sender": "sender",
    "aapply_async": "celery",
    "adelay": "celery",
    "apply_async": "celery",
    "aput": "putting",
    "delay": "celery",
    "open_broker": "broker",
    "put": "putting",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
