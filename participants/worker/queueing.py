"""A lane's turnstile: what of a queue's messages goes to the threads now, what is held, and what is turned away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from amends.outbox.ports import Consumer, Delivery
from amends.participants.limits import Limits
from amends.participants.worker.turnstile import Moved, Turnstile

log = logging.getLogger(__name__)

Entry: TypeAlias = tuple[Consumer, Delivery]

# Answers that a command has to come again, after so many seconds; False if it is none that can be answered.
TurnAway: TypeAlias = Callable[[Delivery, float], bool]

TICK_S: Final = 0.05


class _Named(msgspec.Struct):
    command: str = ""


class Queueing:
    """Between what is received and what the threads take. `arrived` and `tick` in the receiver's thread."""

    def __init__(self, limits: Mapping[str, Limits], turn_away: TurnAway, *, prefetch: int) -> None:
        self._turnstile: Turnstile[Entry] = Turnstile(limits, held_max=prefetch // 2)
        self._turn_away = turn_away
        self._decoder = msgspec.json.Decoder(_Named)
        self._limits_any = any(one.queued for one in limits.values())

    @property
    def patience_s(self) -> float | None:
        """How long the receiver may wait before it looks again; None: as long as it likes."""
        return None if self._turnstile.idle else TICK_S

    def arrived(self, consumer: Consumer, deliveries: Iterable[Delivery]) -> list[Entry]:
        """Those that go to the threads."""
        if not self._limits_any:
            return [(consumer, delivery) for delivery in deliveries]
        through: list[Entry] = []
        for delivery in deliveries:
            entry = (consumer, delivery)
            command = self._command(delivery)
            if self._turnstile.limits(command):
                moved = self._turnstile.arrive(entry, command, _key(entry))
                through += self._obeying(moved)
            else:
                through.append(entry)
        return through

    def tick(self) -> list[Entry]:
        """Those whose turn has come by the time that has passed."""
        return [] if self._turnstile.idle else self._obeying(self._turnstile.tick())

    def left(self, entries: Iterable[Entry]) -> list[Entry]:
        """These are dealt with, or dropped: those whose turn has come by that. Any thread's."""
        if not self._limits_any:
            return []
        through: list[Entry] = []
        for entry in entries:
            through += self._obeying(self._turnstile.left(_key(entry)))
        return through

    def forget_held(self) -> None:
        """With its connection the broker has taken back what was held."""
        self._turnstile.forget_held()

    def _obeying(self, moved: Moved[Entry]) -> list[Entry]:
        for entry, seconds in moved.away:
            consumer, delivery = entry
            if self._turned_away(delivery, seconds):
                consumer.ack([delivery.tag])
            else:
                moved.through.append(entry)  # It is no good command: whoever takes it says so.
        return moved.through

    def _turned_away(self, delivery: Delivery, seconds: float) -> bool:
        try:
            return self._turn_away(delivery, seconds)
        except Exception:
            # Whoever takes it meets it where it is dealt with; here it would cost a thread, or a limit's place.
            log.exception("not_turned_away", extra={"queue": delivery.queue})
            return False

    def _command(self, delivery: Delivery) -> str:
        try:
            return self._decoder.decode(delivery.body).command
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""


def _key(entry: Entry) -> tuple[int, int]:
    consumer, delivery = entry
    return id(consumer), delivery.tag
