"""Where messages leave: the pipelined channel for destinations that confirm, probes for those that do not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf
from typing import Final

from amends.outbox.cargo import Cargo, Landed
from amends.outbox.destinations import Destinations
from amends.outbox.flight import Flight
from amends.outbox.observer import OutboxObserver, Way
from amends.outbox.ports import Broker, Fate
from amends.outbox.prober import Prober

# Its queue could not take it, or did not answer: no fault of the row's (O4).
_UNANSWERED: Final = frozenset({Fate.NACKED})


class Departures:
    """Publishing as sender and sweep do it. Owned by one thread; only `wake` may come from others.

    `launch` and `land` raise BrokerUnavailable; then `abandon`. A message is waited for `confirm_s`, or for ever
    where the confirm waits for a consumer.
    """

    def __init__(
        self,
        broker: Broker,
        observer: OutboxObserver,
        way: Way,
        *,
        window: int,
        confirm_s: float,
        receipts_to: str | None,
    ) -> None:
        if broker.confirms_when_consumed:
            confirm_s = inf
        self._publisher = broker.publisher()
        self._observer = observer
        self._way: Final = way
        self._flight = Flight(
            self._publisher, observer, way, window=window, confirm_s=confirm_s, receipts_to=receipts_to
        )
        self._destinations = Destinations(confirm_s)
        self._prober = Prober(broker, self._publisher.wake)
        self._unanswered: list[Cargo] = []

    @property
    def room(self) -> int:
        """How many more messages may be on the wire."""
        return self._flight.room

    @property
    def unsettled(self) -> int:
        """How many messages are waited for."""
        return self._flight.unsettled + (not self._prober.idle)

    def launch(self, cargos: Sequence[Cargo]) -> list[Cargo]:
        """Publish; those that must wait, since their destinations do not confirm, are handed back."""
        now = time.monotonic()
        going, waiting = [], []
        for cargo in cargos:
            if not self._destinations.suspects(cargo.message):
                going.append(cargo)
            elif self._prober.idle and self._destinations.wait_s(cargo.message, now) == 0:
                self._prober.send(
                    cargo, self._flight.addressed(cargo), self._destinations.patience_s(cargo.message)
                )
                self._observer.published(self._way, 1)
            else:
                waiting.append(cargo)
        if going:
            self._flight.launch(going)
        return waiting

    def land(self, timeout_s: float) -> list[Landed]:
        """What was settled; waits up to `timeout_s` for the first."""
        landed = self._flight.land(timeout_s)
        probed = self._prober.finished()
        if probed is not None:
            cargo, answer = probed
            if answer is None:
                self._unanswered.append(cargo)
                self._observer.unconfirmed(self._way, "overdue", 1)
            else:
                landed.append(answer)
                self._flight.observe(answer)
        for one in landed:
            if one.fate in _UNANSWERED:
                self._destinations.failed([one.cargo.message], time.monotonic())
            else:
                self._destinations.answered(one.cargo.message)
        return landed

    def unanswered(self) -> list[Cargo]:
        """Messages that were not answered in time, to be handed back; their destinations are suspect from now on.

        The channel may be held up by one queue. Then it is given up, and all that is on it is among them.
        """
        overdue = self._flight.overdue()
        late, self._unanswered = self._unanswered, []
        if not (late or overdue):
            return late
        self._destinations.failed([cargo.message for cargo in late] + overdue, time.monotonic())
        if overdue:
            self._publisher.close()
            late += self._flight.abandon("overdue")
        return late

    def wait_s(self, cargo: Cargo) -> float:
        """How long a message that was handed back had better wait."""
        return max(0.1, self._destinations.wait_s(cargo.message, time.monotonic()))

    def abandon(self) -> list[Cargo]:
        """Forget everything on the wire, and the probe; what was waited for."""
        lost = [*self._unanswered, *self._flight.abandon()]
        self._unanswered.clear()
        probe = self._prober.abandon()
        return lost if probe is None else [*lost, probe]

    def wake(self) -> None:
        """Let a `land` that waits in another thread return at once."""
        self._publisher.wake()

    def close(self) -> None:
        """Give up the connection."""
        self._publisher.close()
