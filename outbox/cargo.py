"""What travels from an outbox to the broker, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from amends.outbox.message import Message, OutboxRow
from amends.outbox.ports import Fate


@dataclass(frozen=True, slots=True)
class Cargo:
    """A message to publish, and the row it came from, if any. `taken_at` is when it came to be, monotonic."""

    message: Message
    row: OutboxRow | None
    taken_at: float


@dataclass(frozen=True, slots=True)
class Landed:
    """What the broker said of one message."""

    cargo: Cargo
    fate: Fate
    reason: str
