"""The consumer's thread: from the coordinator's queue into the intake."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from threading import Event, Timer
from typing import Final

from amends.coordinator.engine.intake import Intake
from amends.coordinator.engine.reading import read
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.works import Works
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Broker, coordinator_queue
from amends.outbox.tracing import switch

log = logging.getLogger(__name__)

RECEIVE_S: Final = 0.5
LATER_S: Final = 1.0
ENVELOPE_BYTES_MAX: Final = 65_536  # what a reply may have besides its result


class Consuming:
    """Reads the queue of replies and starts; waits with back-off while the broker is away."""

    def __init__(self, broker: Broker, intake: Intake, *, prefix: str, settings: EngineSettings) -> None:
        self._consumer = broker.consumer([coordinator_queue(prefix)], prefetch=settings.prefetch)
        self._intake = intake
        self._settings = settings
        self._stopping = Event()
        self._works = Works()
        self.broker_up = False

    def run(self) -> None:
        """Read until `stop`."""
        pause_s = self._settings.retry_first_s
        while not self._stopping.is_set():
            try:
                self.turn(RECEIVE_S)
            except BrokerUnavailable as error:
                if self.broker_up:
                    log.warning("broker_away", extra={"error": str(error)})
                self.broker_up = False
                self._works.forget()
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, self._settings.retry_longest_s)
                continue
            except Exception:
                # Whatever it is, messages must not wait for a thread that is gone: connect anew.
                log.exception("consuming_failed")
                self.broker_up = False
                self._consumer.close()
                self._stopping.wait(self._settings.retry_longest_s)
                continue
            self.broker_up = True
            pause_s = self._settings.retry_first_s

    def turn(self, timeout_s: float) -> None:
        """Read what has arrived; waits up to `timeout_s` for the first. Raises: BrokerUnavailable."""
        deliveries = self._consumer.receive(timeout_s)
        if deliveries:
            limit = self._settings.body_bytes_max + ENVELOPE_BYTES_MAX
            items = [read(one, body_bytes_max=limit) for one in deliveries]
            if switch.tracing is not None:
                self._works.begin(zip(deliveries, items, strict=True), switch.tracing)
            self._intake.put(items)

    def done(self, tags: Iterable[int]) -> None:
        """These deliveries are durable. Thread-safe."""
        if self._works.any:
            tags = list(tags)
            self._works.end(tags)
        self._consumer.ack(tags)

    def later(self, tags: Iterable[int]) -> None:
        """These deliveries go back to the queue, after a moment: another coordinator may be the one for them."""
        kept = list(tags)
        if kept:
            self._works.end(kept, "later")
            timer = Timer(LATER_S, self._consumer.requeue, [kept])
            timer.daemon = True
            timer.start()

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()
        self._consumer.wake()

    def close(self) -> None:
        """Send the last acknowledgements and leave."""
        self._consumer.close()
