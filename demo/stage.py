"""Where a run takes place: the same coordinator and participants, in one process or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from amends.coordinator.engine.kin import OWN_SERVICE
from amends.demo.evidence import Databases
from amends.demo.exposition import Samples
from amends.demo.shop.front import SERVICE
from amends.outbox.ports import (
    Broker,
    Topology,
    command_queue,
    coordinator_queue,
    dead_letter_queue,
    events_exchange,
    receipts_queue,
)

PARTICIPANTS: Final = ("inventory", "payments", "shipping")


class Stage(Protocol):
    """A coordinator and three participants at work."""

    databases: Databases
    broker: Broker
    prefix: str
    words: str  # what this is, for people

    def watch(self) -> None:
        """Raises: DemoUnfinished if one of them has ended by itself."""

    def metrics(self) -> Samples | None:
        """The coordinator's metrics; None if they cannot be read."""

    def log(self) -> Sequence[str]:
        """The last warnings and errors of all of them."""

    def rest(self) -> Mapping[str, int]:
        """Stop everything, and tell what each queue still holds; dead letters are not told."""


def topology(prefix: str) -> Topology:
    """Every queue and exchange of a run."""
    commands = {command_queue(prefix, name, undo=undo) for name in PARTICIPANTS for undo in (False, True)}
    receipts = {receipts_queue(prefix, service) for service in (SERVICE, *PARTICIPANTS, OWN_SERVICE)}
    others = {coordinator_queue(prefix), dead_letter_queue(prefix)}
    return Topology(
        queues=frozenset(commands | receipts | others), exchanges=frozenset({events_exchange(prefix)})
    )
