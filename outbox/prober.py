"""Sends single messages to destinations that did not confirm, by a connection of their own.

A queue without a leader may hold up the whole channel that publishes to it: RabbitMQ waits for the queue inside the
channel's process. So nobody else's messages travel with a probe, and nobody waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from amends.outbox.cargo import Cargo, Landed
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.message import Message
from amends.outbox.ports import Broker, Outgoing

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Probe:
    cargo: Cargo
    answer: Landed | None = None
    through: bool = False


class Prober:
    """At most one probe at a time, each in a thread of its own. Owned by the sender's or sweep's thread."""

    def __init__(self, broker: Broker, wake: Callable[[], None]) -> None:
        self._broker = broker
        self._wake = wake
        self._probe: _Probe | None = None

    @property
    def idle(self) -> bool:
        """Whether a probe may be sent."""
        return self._probe is None

    def send(self, cargo: Cargo, message: Message, patience_s: float) -> None:
        """Send a probe and wait for its answer for so long, in the background; then `wake` is called."""
        probe = self._probe = _Probe(cargo)
        threading.Thread(
            target=self._run, args=(probe, message, patience_s), name="amends-probe", daemon=True
        ).start()

    def finished(self) -> tuple[Cargo, Landed | None] | None:
        """The probe that is through, and its answer or, for want of one, None."""
        probe = self._probe
        if probe is None or not probe.through:
            return None
        self._probe = None
        return probe.cargo, probe.answer

    def abandon(self) -> Cargo | None:
        """Forget the probe under way, if there is one: it ends by itself, and its answer does not matter."""
        probe, self._probe = self._probe, None
        return None if probe is None else probe.cargo

    def _run(self, probe: _Probe, message: Message, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        publisher = self._broker.publisher()
        try:
            publisher.publish([Outgoing(1, message)])
            while probe.answer is None and (left_s := deadline - time.monotonic()) > 0:
                for settled in publisher.settled(min(left_s, 0.5)):
                    probe.answer = Landed(probe.cargo, settled.fate, settled.reason)
        except BrokerUnavailable as error:
            log.info("probe_lost", extra={"error": str(error)})
        finally:
            probe.through = True
            self._wake()
            publisher.close()
