"""Relays in a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from amends.outbox.ports import Broker, Topology
from amends.outbox.relay import Relay
from amends.outbox.storage import OwnerRules
from amends.outbox.sweep import SweepLimits
from tests.outbox.rows import STORE

# Shorter than in life, so that tests need not wait for a minute.
QUICK = SweepLimits(owners_every_s=0.1, owners_pause_s=0.5, reconnect_longest_s=0.5)


def relay_of(database: Engine, broker: Broker, prefix: str, *queues: str, **options: Any) -> Relay:
    """A relay of a participant's outbox, not started."""
    broker.declare(Topology(queues=frozenset(queues)))
    defaults: dict[str, Any] = {"store": STORE, "limits": QUICK, "rules": OwnerRules()}
    return Relay(database, broker, prefix=prefix, **{**defaults, **options})


@contextmanager
def relaying(database: Engine, broker: Broker, prefix: str, *queues: str, **options: Any) -> Iterator[Relay]:
    """A relay that runs; stopped afterwards."""
    relay = relay_of(database, broker, prefix, *queues, **options)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()


def quick(**limits: Any) -> SweepLimits:
    """Quick limits, some of them others."""
    return replace(QUICK, **limits)
