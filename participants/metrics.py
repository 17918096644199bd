"""What a participant tells Prometheus. Labels are bounded: names come from the registry, never from messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from amends.outbox.metrics import PrometheusOutbox
from amends.participants.breaker import BreakerState, breakers

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STATES: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class ParticipantMetrics:
    """The counters of one Prometheus registry; workers of one process share them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._commands = Counter(
            "amends_participant_commands",
            "Commands answered, by outcome.",
            ("participant", "command", "op", "outcome"),
            registry=registry,
        )
        self._handler = Histogram(
            "amends_participant_handler_seconds",
            "How long handlers took.",
            ("participant", "command", "op"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._hits = Counter(
            "amends_participant_barrier_hits",
            "Commands that the barrier had already settled, by what it answered.",
            ("participant", "op", "outcome"),
            registry=registry,
        )
        self._dead = Counter(
            "amends_participant_dead_letters",
            "Messages that could not be obeyed and went to the dead-letter queue.",
            ("participant",),
            registry=registry,
        )
        self._events = Counter(
            "amends_participant_events",
            "Domain events and news of ended sagas, by what became of them.",
            ("participant", "subscriber", "outcome"),
            registry=registry,
        )
        self._overdue = Counter(
            "amends_participant_handlers_overdue",
            "Handlers that ran longer than their time limit.",
            ("participant",),
            registry=registry,
        )
        self._handed_over = Counter(
            "amends_participant_handed_over",
            "Commands handed over to another program, which answers them.",
            ("participant", "command"),
            registry=registry,
        )
        registry.register(BreakerStates())

    def answered(self, participant: str, command: str, op: str, outcome: str) -> None:
        """A command was answered. `command` is a handler's name, or `unknown`."""
        self._commands.labels(participant, command, op, outcome).inc()

    def handed_over(self, participant: str, command: str) -> None:
        """A command was handed over to another program."""
        self._handed_over.labels(participant, command).inc()

    def ran(self, participant: str, command: str, op: str, seconds: float) -> None:
        """A handler ran."""
        self._handler.labels(participant, command, op).observe(seconds)

    def repeated(self, participant: str, op: str, outcome: str) -> None:
        """The barrier had the answer already."""
        self._hits.labels(participant, op, outcome).inc()

    def dead_lettered(self, participant: str) -> None:
        """A message went to the dead-letter queue."""
        self._dead.labels(participant).inc()

    def heard(self, participant: str, subscriber: str, became: str) -> None:
        """Something became of an event: done, refused, repeated, retried, dead_lettered, passed_over."""
        self._events.labels(participant, subscriber, became).inc()

    def overdue(self, participant: str) -> None:
        """A handler ran over its time limit."""
        self._overdue.labels(participant).inc()


class BreakerStates(Collector):
    """The states of this process's circuit breakers, read when they are asked for."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The worst state of each name: several breakers may share one."""
        family = GaugeMetricFamily(
            "amends_breaker_state", "Circuit breakers: 0 closed, 1 half-open, 2 open.", labels=["breaker"]
        )
        for name, state in sorted(_worst().items()):
            family.add_metric([name], state)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: then the registry does not collect when it registers."""
        return iter(())


def _worst() -> dict[str, int]:
    worst: dict[str, int] = {}
    for breaker in breakers():
        worst[breaker.name] = max(worst.get(breaker.name, 0), _STATES[breaker.state])
    return worst


_metrics: Final[WeakKeyDictionary[CollectorRegistry, ParticipantMetrics]] = WeakKeyDictionary()
_outboxes: Final[WeakKeyDictionary[CollectorRegistry, PrometheusOutbox]] = WeakKeyDictionary()


def metrics_in(registry: CollectorRegistry = REGISTRY) -> ParticipantMetrics:
    """The participant's metrics in this registry, made at their first use."""
    found = _metrics.get(registry)
    if found is None:
        found = _metrics[registry] = ParticipantMetrics(registry)
    return found


def outbox_metrics_in(registry: CollectorRegistry = REGISTRY) -> PrometheusOutbox:
    """The outbox's metrics in this registry, made at their first use."""
    found = _outboxes.get(registry)
    if found is None:
        found = _outboxes[registry] = PrometheusOutbox(registry)
    return found
