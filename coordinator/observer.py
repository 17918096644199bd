"""What the engine tells about its work: a narrow seam, so that it need not know who counts.

`amends.coordinator.metrics` counts for Prometheus; `NullObserver` counts nothing. Every method is called
from the engine's threads after the transaction it tells of is known to have committed, must be quick, and
never raises.
"""

from __future__ import annotations

from typing import Final, Protocol


class Observer(Protocol):
    """Somebody who counts. Seconds are durations; names are those of definitions and participants."""

    def batch_done(self, size: int, seconds: float) -> None:
        """One transaction of `size` events was committed."""

    def saga_started(self, name: str) -> None:
        """A start was accepted."""

    def saga_ended(self, name: str, status: str, seconds: float) -> None:
        """A saga reached `completed` or `compensated`, `seconds` after its start."""

    def saga_rejected(self, name: str) -> None:
        """A start could not be accepted; it is kept and told (S2)."""

    def start_held(self, name: str) -> None:
        """A start came while its saga was suspended; one that comes again is not told of again."""

    def step_stuck(self, name: str) -> None:
        """A step of the saga `name` needs an operator (C3, invariant 15)."""

    def attempt(self, participant: str, op: str, outcome: str, seconds: float) -> None:
        """One attempt ended: `done`, `refused`, `failed` or `timeout`, `seconds` after it was sent."""

    def breaker(self, queue: str, open: bool) -> None:  # noqa: A002 - The field's word; no file is opened here.
        """The breaker of a command queue opened or closed (M6)."""

    def schedule_fired(self, name: str) -> None:
        """The schedule `name` started a saga (S4)."""

    def schedule_missed(self, name: str, runs: int) -> None:
        """Instants of the schedule `name` passed without a run of their own, by its policy."""

    def schedule_failed(self, name: str, runs: int) -> None:
        """Runs of the schedule `name` could not be started."""

    def signal(self, outcome: str) -> None:
        """A signal came: `accepted`, `kept`, `duplicate`, or why it was turned away (S1)."""

    def placeholders_expired(self, count: int) -> None:
        """So many placeholders were given up: something came for sagas that nobody started (S1)."""


class NullObserver:
    """Counts nothing."""

    def batch_done(self, size: int, seconds: float) -> None:
        """Nothing."""

    def saga_started(self, name: str) -> None:
        """Nothing."""

    def saga_ended(self, name: str, status: str, seconds: float) -> None:
        """Nothing."""

    def saga_rejected(self, name: str) -> None:
        """Nothing."""

    def start_held(self, name: str) -> None:
        """Nothing."""

    def step_stuck(self, name: str) -> None:
        """Nothing."""

    def attempt(self, participant: str, op: str, outcome: str, seconds: float) -> None:
        """Nothing."""

    def breaker(self, queue: str, open: bool) -> None:  # noqa: A002 - See `Observer`.
        """Nothing."""

    def schedule_fired(self, name: str) -> None:
        """Nothing."""

    def schedule_missed(self, name: str, runs: int) -> None:
        """Nothing."""

    def schedule_failed(self, name: str, runs: int) -> None:
        """Nothing."""

    def signal(self, outcome: str) -> None:
        """Nothing."""

    def placeholders_expired(self, count: int) -> None:
        """Nothing."""


NULL_OBSERVER: Final[Observer] = NullObserver()
