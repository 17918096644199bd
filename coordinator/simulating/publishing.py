"""Publishing, as the fast path (`outbox/sender.py`) and the sweep (`outbox/sweep.py`) do it.

Each is a handful of moves that a process makes in any order: launch, land, write down what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from amends.coordinator.simulating.broker import Broker, Channel
from amends.coordinator.simulating.mishaps import Mishaps
from amends.outbox import wire
from amends.outbox.backoff import after
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message, OutboxRow
from amends.outbox.ports import Fate
from amends.outbox.storage import HandBack

RETURNED_MAX_S: Final = 3_600.0


class Cargo(NamedTuple):
    """A message to be published. `row` is its outbox row, if it has one; `taken` when that was offered or written."""

    message: Message
    row: OutboxRow | None
    taken: int


class Flight:
    """What is on the wire. The broker's word about it lands later, or never."""

    def __init__(self, broker: Broker, mishaps: Mishaps, receipts_to: str | None) -> None:
        self._broker = broker
        self._channel = Channel(broker)
        self._mishaps = mishaps
        self._receipts_to = receipts_to
        self._aloft: list[tuple[Cargo, Fate | None]] = []

    def __len__(self) -> int:
        return len(self._aloft)

    def launch(self, cargos: Sequence[Cargo]) -> None:
        """Publish. Raises: BrokerUnavailable; then `abandon`: these cargos are part of it."""
        mishaps, broken = self._mishaps, False
        for cargo in cargos:
            if broken or mishaps.strikes("connection lost in a publish", 0.01):
                broken = True  # What was sent before it broke may have arrived, or not.
                if mishaps.rng.random() < 0.5:
                    self._aloft.append((cargo, None))
                    continue
            elif mishaps.strikes("nack", 0.01):
                self._aloft.append((cargo, Fate.NACKED))
                continue
            fate = self._channel.publish(self._addressed(cargo))
            if mishaps.strikes("doubled message", 0.05):
                self._channel.publish(self._addressed(cargo))
            self._aloft.append((cargo, fate))
        if broken:
            raise BrokerUnavailable("the connection was lost")

    def land(self) -> list[tuple[Cargo, Fate]]:
        """What the broker said meanwhile. Raises: BrokerUnavailable; then `abandon`."""
        self._channel.check()
        landed = [(cargo, fate) for cargo, fate in self._aloft if fate is not None]
        self._aloft.clear()
        if landed and self._mishaps.strikes("broker wiped", 0.01):
            self._broker.wipe()  # What was confirmed is lost all the same.
        return landed

    def abandon(self) -> list[Cargo]:
        """Forget everything on the wire; what was waited for."""
        lost = [cargo for cargo, _ in self._aloft]
        self._aloft.clear()
        return lost

    def _addressed(self, cargo: Cargo) -> Message:
        message = cargo.message
        if cargo.row is None or not message.needs_receipt:
            return message
        headers = {**message.headers, wire.HEADER_ROW: str(cargo.row.id)}
        if self._receipts_to is not None:
            headers[wire.HEADER_RECEIPT_TO] = self._receipts_to
        return replace(message, headers=headers)


def missed(row: OutboxRow, fate: Fate, *, sweeping: bool) -> HandBack | None:
    """What becomes of a row that was not confirmed. None: it is parked, by its own fault (O4)."""
    if fate is not Fate.RETURNED:
        return HandBack(0.1, fate.value)
    if not sweeping:
        return HandBack(1.0, fate.value, counts=True, returned=True)
    if row.returned_s is not None and row.returned_s >= RETURNED_MAX_S:
        return None
    return HandBack(after(row.attempts, 1.0, 60.0), fate.value, counts=True, returned=True)


LateHook = Callable[[Iterable[OutboxRow]], None]
