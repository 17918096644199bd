"""The outbox's numbers for Prometheus. Takes a registry; nothing is registered at import.

Counters and histograms                                  Gauges
amends_outbox_published_total{way}                       amends_outbox_pending
amends_outbox_confirmed_total{way}                       amends_outbox_oldest_age_seconds
amends_outbox_unconfirmed_total{way,miss}                amends_outbox_awaiting_receipt
amends_outbox_returned_total                             amends_outbox_parked_rows
amends_outbox_parked_total                               amends_database_up
amends_outbox_received_total                             amends_broker_up
amends_outbox_taken_over_total
amends_outbox_confirm_seconds{way}
amends_outbox_publish_batch_size{way}
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.observer import Miss, Way
from amends.outbox.storage import OutboxStats

log = logging.getLogger(__name__)

CONFIRM_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_MESSAGES: Final = (1, 2, 5, 10, 25, 50, 100, 200, 500, 1000)


class PrometheusOutbox:
    """The `OutboxObserver` that counts into a registry. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"amends_outbox_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"amends_outbox_{name}", text, ["way"], buckets=buckets, registry=registry)

        self._published = counter("published", "Messages put on the wire.", "way")
        self._confirmed = counter("confirmed", "Messages the broker confirmed.", "way")
        self._unconfirmed = counter(
            "unconfirmed", "Messages published in vain; they come again.", "way", "miss"
        )
        self._returned = counter(
            "returned", "Messages the broker returned: no queue was bound where they went."
        )
        self._parked = counter("parked", "Rows set aside for an operator.")
        self._received = counter("received", "Rows deleted because their receipts came.")
        self._taken_over = counter("taken_over", "Rows of dead owners taken over by the sweep.")
        self._seconds = histogram("confirm_seconds", "From publish to confirm.", CONFIRM_SECONDS)
        self._batch = histogram("publish_batch_size", "Messages published at once.", BATCH_MESSAGES)

    def published(self, way: Way, count: int) -> None:
        """One batch of messages was put on the wire."""
        self._published.labels(way).inc(count)
        self._batch.labels(way).observe(count)

    def confirmed(self, way: Way, latencies_s: Sequence[float]) -> None:
        """The broker confirmed messages."""
        self._confirmed.labels(way).inc(len(latencies_s))
        seconds = self._seconds.labels(way)
        for latency_s in latencies_s:
            seconds.observe(latency_s)

    def unconfirmed(self, way: Way, miss: Miss, count: int) -> None:
        """Messages were published and not confirmed."""
        self._unconfirmed.labels(way, miss).inc(count)
        if miss == "returned":
            self._returned.inc(count)

    def parked(self, count: int) -> None:
        """Rows were set aside for an operator."""
        self._parked.inc(count)

    def received(self, count: int) -> None:
        """Rows were deleted because their receipts came."""
        self._received.inc(count)

    def taken_over(self, count: int) -> None:
        """Rows of dead owners were taken over by the sweep."""
        self._taken_over.inc(count)


class OutboxGauges(Collector):
    """What stands in an outbox table, read at every scrape, and whether its relay reaches database and broker.

    While the table cannot be read, `amends_database_up` is 0 and the table's gauges are absent.
    """

    def __init__(
        self,
        read: Callable[[], OutboxStats],
        *,
        broker_up: Callable[[], bool],
        database_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self._read = read
        self._broker_up = broker_up
        self._database_up = database_up

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges as they stand now."""
        yield _gauge("broker_up", "1 while the broker is connected.", self._broker_up())
        stats = self._stats()
        yield _gauge("database_up", "1 while the database answers.", stats is not None)
        if stats is None:
            return
        yield _gauge("outbox_pending", "Outbox rows not sent yet.", stats.pending)
        yield _gauge(
            "outbox_oldest_age_seconds",
            "Age of the oldest outbox row not sent yet; 0 if there is none.",
            stats.oldest_age_s,
        )
        yield _gauge(
            "outbox_awaiting_receipt", "Outbox rows sent, whose receipts are awaited.", stats.awaiting_receipt
        )
        yield _gauge("outbox_parked_rows", "Outbox rows that need an operator.", stats.parked)

    def _stats(self) -> OutboxStats | None:
        if not self._database_up():
            return None  # Whoever scrapes need not wait for what is known to be away.
        try:
            return self._read()
        except DATABASE_FAULTS as error:
            log.warning("outbox_gauges_unread", extra={"error": told(error)})
            return None


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"amends_{name}", text, value=float(value))


class MetricsServer:
    """A registry of its own, for Prometheus to scrape over HTTP."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._close: Callable[[], None] = lambda: None

    def start(self, port: int, host: str = "0.0.0.0") -> int:
        """Listen; the port, which is any free one for 0. Raises: OSError if it cannot be had."""
        server, thread = start_http_server(port, addr=host, registry=self.registry)

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close
        return int(server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._close()
