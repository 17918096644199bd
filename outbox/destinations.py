"""Which destinations do not confirm, so that one dead queue does not hold the others (O4).

A destination (exchange and routing key) is healthy until a message to it went unconfirmed or was nacked. Then it is
suspect: one message at a time goes there, with growing pauses, until one is confirmed.

    healthy --unconfirmed--> waiting --pause over, next message--> probing --confirmed--> healthy
                                ^                                     |
                                +------------unconfirmed--------------+
"""

from __future__ import annotations

from dataclasses import dataclass

from amends.outbox.backoff import after
from amends.outbox.message import Message

Destination = tuple[str, str]


def destination(message: Message) -> Destination:
    """Where a message goes."""
    return message.exchange, message.routing_key


@dataclass(slots=True)
class _Suspect:
    failures: int
    probe_at: float
    probing: bool = False


class Destinations:
    """The health of the destinations of one publisher. Times are of one monotonic clock."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 15.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._suspects: dict[Destination, _Suspect] = {}

    def admits(self, message: Message, now: float) -> bool:
        """Whether this message may go now. To a suspect destination only a probe may."""
        suspect = self._suspects.get(destination(message)) if self._suspects else None
        if suspect is None:
            return True
        if suspect.probing or now < suspect.probe_at:
            return False
        suspect.probing = True
        return True

    def answered(self, message: Message) -> None:
        """The broker confirmed or returned a message: its destination is healthy."""
        if self._suspects:
            self._suspects.pop(destination(message), None)

    def failed(self, messages: list[Message], now: float) -> None:
        """These messages were not confirmed: their destinations are suspect, and pause once more."""
        for where in {destination(message) for message in messages}:
            suspect = self._suspects.get(where)
            failures = suspect.failures + 1 if suspect else 1
            pause = after(failures - 1, self._first_s, self._longest_s)
            self._suspects[where] = _Suspect(failures, now + pause)

    def suspects(self, message: Message) -> bool:
        """Whether the message's destination is suspect."""
        return bool(self._suspects) and destination(message) in self._suspects

    def delay_s(self, message: Message, now: float) -> float:
        """How long a message that was not admitted, or not confirmed, had better wait."""
        suspect = self._suspects.get(destination(message))
        return max(0.1, suspect.probe_at - now) if suspect else 0.1

    def forget_probes(self) -> None:
        """The connection is gone, and with it what was on the wire."""
        for suspect in self._suspects.values():
            suspect.probing = False
