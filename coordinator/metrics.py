"""The coordinator's numbers for Prometheus.

Counters and histograms are fed by the engine (`PrometheusObserver`, an `Observer`); gauges are read from the
database at every scrape (`DatabaseGauges`), so they agree with it whatever became of the processes before
(invariant 17) and are the same at every replica: aggregate them with `max`, counters with `sum`.

Counters and histograms                                Gauges
amends_sagas_started_total{saga}                       amends_sagas_running{saga,status}
amends_sagas_finished_total{saga,status}               amends_sagas_stuck{saga}
amends_sagas_rejected_total{saga}                      amends_sagas_suspended{saga}
amends_starts_held_total{saga}                         amends_steps_parked{queue}
amends_steps_stuck_total{saga}                         amends_breaker_open{queue}
amends_saga_duration_seconds{saga,status}              amends_outbox_pending
amends_step_attempts_total{participant,op,outcome}     amends_outbox_oldest_age_seconds
amends_step_attempt_duration_seconds{participant,op}   amends_outbox_parked_rows
amends_batch_size                                      amends_outbox_awaiting_receipt
amends_batch_duration_seconds                          amends_database_up
amends_breaker_changes_total{queue,to}                 amends_broker_up
amends_schedule_fired_total{schedule}                  amends_schedules{state}
amends_schedule_missed_total{schedule}                 amends_schedules_failing
amends_schedule_failed_total{schedule}                 amends_schedules_overdue_seconds
amends_signals_total{outcome}
amends_placeholders_expired_total

The counters of the coordinator's outbox are `amends.outbox.metrics`'.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from amends.coordinator.gauges import GaugeReadings, ScheduleReadings
from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.storage import OutboxStats

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
NAMES_MAX: Final = 200
OTHER: Final = "other"

SAGA_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
ATTEMPT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BATCH_EVENTS: Final = (1, 2, 5, 10, 25, 50, 100, 200, 300, 500)


class BoundedNames:
    """Lets the first `limit` distinct names through; every later one is `other`: label sets are bounded."""

    def __init__(self, limit: int = NAMES_MAX) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = Lock()

    def __call__(self, name: str) -> str:
        """The label for this name."""
        if name in self._known:
            return name
        with self._lock:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(name)
        return name


class PrometheusObserver:
    """The `Observer` that counts into a registry. Thread-safe."""

    def __init__(self, registry: CollectorRegistry, *, names_max: int = NAMES_MAX) -> None:
        self._saga = BoundedNames(names_max)
        self._participant = BoundedNames(names_max)
        self._queue = BoundedNames(names_max)
        self._schedule = BoundedNames(names_max)
        self._started = Counter("amends_sagas_started", "Sagas started.", ["saga"], registry=registry)
        self._finished = Counter(
            "amends_sagas_finished",
            "Sagas that reached a final status.",
            ["saga", "status"],
            registry=registry,
        )
        self._rejected = Counter(
            "amends_sagas_rejected", "Starts that could not be accepted.", ["saga"], registry=registry
        )
        self._held = Counter(
            "amends_starts_held",
            "Starts that came while their saga was suspended; however often one comes again, it counts once.",
            ["saga"],
            registry=registry,
        )
        self._stuck = Counter(
            "amends_steps_stuck", "Steps that came to need an operator.", ["saga"], registry=registry
        )
        self._saga_seconds = Histogram(
            "amends_saga_duration_seconds",
            "From a saga's start to its end.",
            ["saga", "status"],
            buckets=SAGA_SECONDS,
            registry=registry,
        )
        self._attempts = Counter(
            "amends_step_attempts",
            "Attempts of steps that ended.",
            ["participant", "op", "outcome"],
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "amends_step_attempt_duration_seconds",
            "From a command's send to its answer or timeout.",
            ["participant", "op"],
            buckets=ATTEMPT_SECONDS,
            registry=registry,
        )
        self._batch_size = Histogram(
            "amends_batch_size", "Events in one transaction.", buckets=BATCH_EVENTS, registry=registry
        )
        self._batch_seconds = Histogram(
            "amends_batch_duration_seconds",
            "From the first lock to the end of COMMIT of one transaction.",
            buckets=BATCH_SECONDS,
            registry=registry,
        )
        self._breaker_changes = Counter(
            "amends_breaker_changes", "Breakers that opened or closed.", ["queue", "to"], registry=registry
        )
        self._schedule_fired = Counter(
            "amends_schedule_fired", "Sagas that schedules started.", ["schedule"], registry=registry
        )
        self._schedule_missed = Counter(
            "amends_schedule_missed", "Runs that passed without a saga.", ["schedule"], registry=registry
        )
        self._schedule_failed = Counter(
            "amends_schedule_failed", "Runs that could not be started.", ["schedule"], registry=registry
        )

        self._signals = Counter(
            "amends_signals", "Signals that came, by what became of them.", ["outcome"], registry=registry
        )
        self._expired = Counter(
            "amends_placeholders_expired",
            "Placeholders given up: something came for a saga that nobody started.",
            registry=registry,
        )

    def batch_done(self, size: int, seconds: float) -> None:
        """One transaction of `size` events was committed."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def saga_started(self, name: str) -> None:
        """A start was accepted."""
        self._started.labels(self._saga(name)).inc()

    def saga_ended(self, name: str, status: str, seconds: float) -> None:
        """A saga reached a final status."""
        label = self._saga(name)
        self._finished.labels(label, status).inc()
        self._saga_seconds.labels(label, status).observe(seconds)

    def saga_rejected(self, name: str) -> None:
        """A start could not be accepted."""
        self._rejected.labels(self._saga(name)).inc()

    def start_held(self, name: str) -> None:
        """A start came while its saga was suspended."""
        self._held.labels(self._saga(name)).inc()

    def step_stuck(self, name: str) -> None:
        """A step of the saga `name` needs an operator."""
        self._stuck.labels(self._saga(name)).inc()

    def attempt(self, participant: str, op: str, outcome: str, seconds: float) -> None:
        """One attempt ended."""
        label = self._participant(participant)
        self._attempts.labels(label, op, outcome).inc()
        self._attempt_seconds.labels(label, op).observe(seconds)

    def breaker(self, queue: str, open: bool) -> None:  # noqa: A002 - As the protocol has it.
        """The breaker of a command queue opened or closed."""
        self._breaker_changes.labels(self._queue(queue), "open" if open else "closed").inc()

    def schedule_fired(self, name: str) -> None:
        """A schedule started a saga."""
        self._schedule_fired.labels(self._schedule(name)).inc()

    def schedule_missed(self, name: str, runs: int) -> None:
        """Runs passed without a saga."""
        self._schedule_missed.labels(self._schedule(name)).inc(runs)

    def schedule_failed(self, name: str, runs: int) -> None:
        """Runs could not be started."""
        self._schedule_failed.labels(self._schedule(name)).inc(runs)

    def signal(self, outcome: str) -> None:
        """A signal came."""
        self._signals.labels(outcome).inc()

    def placeholders_expired(self, count: int) -> None:
        """So many placeholders were given up."""
        self._expired.inc(count)


class DatabaseGauges(Collector):
    """What stands in the database, read at every scrape. While it is away `amends_database_up` is 0."""

    def __init__(
        self, read: Callable[[], GaugeReadings], *, broker_up: Callable[[], bool], names_max: int = NAMES_MAX
    ) -> None:
        self._read = read
        self._broker_up = broker_up
        self._names_max = names_max

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The gauges as they stand now."""
        yield GaugeMetricFamily(
            "amends_broker_up", "1 while the broker is connected.", value=float(self._broker_up())
        )
        try:
            readings = self._read()
        except DATABASE_FAULTS as error:
            log.warning("gauges_unread", extra={"error": told(error)})
            yield GaugeMetricFamily("amends_database_up", "1 while the database answers.", value=0)
            return
        yield GaugeMetricFamily("amends_database_up", "1 while the database answers.", value=1)
        yield from self._sagas(readings)
        yield _family(
            "amends_sagas_suspended",
            "1 while starts of a saga wait, because it is suspended.",
            ("saga",),
            self._bounded({(name,): 1.0 for name in readings.suspended}),
        )
        yield _family(
            "amends_steps_parked",
            "Commands that wait for room or for a breaker.",
            ("queue",),
            self._bounded({(queue,): count for queue, count in readings.parked_steps.items()}),
        )
        yield _family(
            "amends_breaker_open",
            "1 while the breaker of a command queue is open.",
            ("queue",),
            self._bounded({(queue,): float(is_open) for queue, is_open in readings.breakers.items()}),
        )
        yield from _schedules(readings.schedules)
        yield from _outbox(readings.outbox)

    def _sagas(self, readings: GaugeReadings) -> Iterator[Metric]:
        moving: dict[tuple[str, ...], float] = {}
        stuck: dict[tuple[str, ...], float] = {}
        for (name, status), count in readings.live_sagas.items():
            if status == "stuck":
                stuck[name,] = count
            else:
                moving[name, status] = count
        yield _family(
            "amends_sagas_running", "Sagas that have not ended.", ("saga", "status"), self._bounded(moving)
        )
        yield _family("amends_sagas_stuck", "Sagas that need an operator.", ("saga",), self._bounded(stuck))

    def _bounded(self, counts: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
        """The counts with surplus first labels added up under `other`; their sum stays what it was."""
        names = BoundedNames(self._names_max)
        bounded: dict[tuple[str, ...], float] = {}
        for labels, count in sorted(counts.items()):
            key = (names(labels[0]), *labels[1:])
            bounded[key] = bounded.get(key, 0) + count
        return bounded


def _outbox(stats: OutboxStats) -> Iterator[Metric]:
    gauges = {
        "pending": ("Outbox rows not sent yet.", stats.pending),
        "oldest_age_seconds": (
            "Age of the oldest outbox row not sent yet; 0 if there is none.",
            stats.oldest_age_s,
        ),
        "awaiting_receipt": ("Outbox rows sent, whose receipts are awaited.", stats.awaiting_receipt),
        "parked_rows": ("Outbox rows that need an operator.", stats.parked),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"amends_outbox_{name}", text, value=value)


def _schedules(readings: ScheduleReadings) -> Iterator[Metric]:
    counts: dict[tuple[str, ...], float] = {("active",): readings.active, ("paused",): readings.paused}
    yield _family("amends_schedules", "Schedules.", ("state",), counts)
    yield GaugeMetricFamily(
        "amends_schedules_failing",
        "Schedules whose last run could not be started.",
        value=readings.failing,
    )
    yield GaugeMetricFamily(
        "amends_schedules_overdue_seconds",
        "How long the schedule that is longest overdue has been due; 0 if none is.",
        value=readings.overdue_s,
    )


def _family(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def exposition(registry: CollectorRegistry) -> bytes:
    """What the registry holds, in Prometheus's text format. Reads the database: not for an event loop."""
    return generate_latest(registry)


def new_registry() -> CollectorRegistry:
    """A registry of this process's own."""
    return CollectorRegistry()
