"""Which destinations do not confirm, so that one dead queue does not hold the others (O4).

A destination (exchange and routing key) is healthy until a message to it went unconfirmed or was nacked. Then it is
suspect: one message at a time goes there, by a connection of its own and after growing pauses, until it answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from amends.outbox.backoff import after
from amends.outbox.message import Message

Destination = tuple[str, str]


def destination(message: Message) -> Destination:
    """Where a message goes."""
    return message.exchange, message.routing_key


@dataclass(frozen=True, slots=True)
class _Suspect:
    failures: int
    probe_at: float


class Destinations:
    """The health of the destinations of one sender or sweep. Times are of one monotonic clock.

    The pause before a probe doubles from `first_s` to `longest_s`; so does the probe's patience, from `patience_s`
    to `confirm_s`: a dead queue does not keep the next suspect waiting for long.
    """

    def __init__(
        self, confirm_s: float, *, first_s: float = 0.5, longest_s: float = 15.0, patience_s: float = 2.0
    ) -> None:
        self._confirm_s = confirm_s
        self._first_s = first_s
        self._longest_s = longest_s
        self._patience_s = patience_s
        self._suspects: dict[Destination, _Suspect] = {}

    def suspects(self, message: Message) -> bool:
        """Whether the message's destination is suspect."""
        return bool(self._suspects) and destination(message) in self._suspects

    def wait_s(self, message: Message, now: float) -> float:
        """How long until a message may go to a suspect destination; 0: now."""
        suspect = self._suspects.get(destination(message))
        return max(0.0, suspect.probe_at - now) if suspect else 0.0

    def patience_s(self, message: Message) -> float:
        """How long a probe of this destination is waited for."""
        suspect = self._suspects.get(destination(message))
        failures = suspect.failures - 1 if suspect else 0
        return after(failures, min(self._patience_s, self._confirm_s), self._confirm_s)

    def answered(self, message: Message) -> None:
        """The broker confirmed or returned a message: its destination is healthy."""
        if self._suspects:
            self._suspects.pop(destination(message), None)

    def failed(self, messages: Iterable[Message], now: float) -> None:
        """These messages were not confirmed: their destinations are suspect, and pause once more."""
        for where in {destination(message) for message in messages}:
            suspect = self._suspects.get(where)
            failures = suspect.failures + 1 if suspect else 1
            pause = after(failures - 1, self._first_s, self._longest_s)
            self._suspects[where] = _Suspect(failures, now + pause)
