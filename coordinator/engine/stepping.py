"""A coordinator whose threads are not started: its turns are taken by hand, one at a time (decision 0096).

So a run is the same each time, and time passes when it is told to. For tests; the settings keep nothing waiting.
"""

from __future__ import annotations

from typing import Any, Final

from amends.coordinator.engine.coordinator import Coordinator

# Whatever a thread does every so often is due at each turn.
AT_ONCE: Final[dict[str, Any]] = {
    "refresh_s": 1e-6,
    "prune_every_s": 1e-6,
    "retry_first_s": 1e-3,
    "retry_longest_s": 1e-3,
}


class Stepping:
    """One engine. `decide` and `publish` do its work; the other turns are taken when somebody says so."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Registers the coordinator among the outbox's owners. Raises: StoreUnavailable."""
        self.coordinator = coordinator
        self.beat()
        self.keep()

    def receive(self) -> None:
        """Read what the broker has for it."""
        self.coordinator._consuming.turn(0)

    def decide(self) -> None:
        """One batch of what has come. What was not acknowledged goes back to the broker."""
        try:
            self.coordinator._decider.turn(0)
        finally:
            self.coordinator._consuming.close()

    def publish(self) -> None:
        """Publish what was committed, and learn what was confirmed."""
        self.coordinator._sender.turn(0)

    def settle(self) -> None:
        """Delete what was confirmed, as it does when it was idle for a moment."""
        self.coordinator._sender._settling.settle(confirmed_too=True)

    def tick(self) -> None:
        """Claim what is due."""
        self.coordinator._intake.put(self.coordinator._ticking.claim())

    def schedule(self) -> None:
        """Plan what is due by a schedule."""
        self.coordinator._scheduling.turn()

    def keep(self) -> None:
        """Store and read breakers and windows, admit, probe, prune."""
        self.coordinator._keeping.turn()

    def beat(self) -> None:
        """Say that it lives."""
        self.coordinator._sender._owner._try()

    @property
    def waiting(self) -> int:
        """How many events wait for its next batch."""
        return len(self.coordinator._intake)

    def decide_all(self) -> int:
        """Every batch that waits; how many events there were."""
        events = 0
        while self.waiting:
            events += self.waiting
            self.decide()
            self.publish()
        return events

    def close(self) -> None:
        """Let go of the broker."""
        self.coordinator._consuming.close()
        self.coordinator._sender._departures.close()
