"""What is to be reached, and whether the figures reach it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.sections.throughput import BATCH

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """`bound` is what `value` of the figures is to be at least, or at most."""

    name: str
    at_least: bool
    bound: float
    value: Callable[[Figures], float]
    unit: str = ""

    def said(self) -> str:
        """The goal in words."""
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}{self.unit}"

    def met(self, value: float) -> bool:
        """Whether this value reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


def _rate(who: str, in_flight: int) -> Callable[[Figures], float]:
    return lambda figures: figures["throughput"][who][f"in_flight_{in_flight}"]["sagas_per_second"]


def _best(in_flight: int) -> Callable[[Figures], float]:
    """amends as its users may set it up: with or without `batch`."""
    return lambda figures: max(
        _rate("amends", in_flight)(figures), _rate(f"amends, batch={BATCH}", in_flight)(figures)
    )


def _against(who: str, in_flight: int) -> Callable[[Figures], float]:
    return lambda figures: _best(in_flight)(figures) / _rate(who, in_flight)(figures)


def _single(who: str) -> Callable[[Figures], float]:
    return lambda figures: figures["throughput"][who]["single"]["p50_ms"]


def _best_of(who: str) -> Callable[[Figures], float]:
    """The peer at the number in flight that suits it better."""
    return lambda figures: max(_rate(who, 1_000)(figures), _rate(who, 50)(figures))


def _figure(section: str, name: str) -> Callable[[Figures], float]:
    return lambda figures: figures[section][name]


GOALS: Final = (
    Goal("sagas/s, 1,000 in flight, against the bare loop", True, 0.9, _against("bare loop", 1_000)),
    Goal("sagas/s, 50 in flight, against the bare loop", True, 0.9, _against("bare loop", 50)),
    Goal(
        "sagas/s against Celery's chain without persistence",
        True,
        1.5,
        lambda figures: _best(1_000)(figures) / _best_of("Celery")(figures),
    ),
    Goal("sagas/s against DBOS", True, 5, lambda figures: _best(1_000)(figures) / _best_of("DBOS")(figures)),
    Goal(
        "p50, one in flight, against the bare loop",
        False,
        1.1,
        lambda figures: _single("amends")(figures) / _single("bare loop")(figures),
    ),
    Goal(
        "p50, one in flight, against DBOS's three local steps",
        False,
        1.8,
        lambda figures: _single("amends")(figures) / _single("DBOS")(figures),
    ),
    Goal("relay against one confirm per message", True, 5, _figure("relay", "relay_ratio")),
    Goal(
        "cost per message, 1,000,000 unsent against none",
        False,
        1.15,
        _figure("growth", "unsent_cost_ratio_1000000"),
    ),
    Goal(
        "cost per saga, 1,000,000 finished against none",
        False,
        1.10,
        _figure("growth", "finished_cost_ratio_1000000"),
    ),
    Goal("cost per step, 10,000 steps against 3", False, 1.2, _figure("growth", "step_cost_ratio_10000")),
    Goal(
        "coordinator memory, 10,000 in flight", False, 150, _figure("size", "coordinator_mib_10000"), " MiB"
    ),
    Goal(
        "demo, 1,000 orders embedded, --faults none",
        True,
        250,
        _figure("size", "demo_sagas_per_second"),
        " sagas/s",
    ),
)


def judged(figures: Figures) -> list[dict[str, Any]]:
    """One entry for each goal whose figures there are: name, goal, value, met."""
    found = []
    for goal in GOALS:
        try:
            value = goal.value(figures)
        except KeyError:
            continue  # Its section was not asked for.
        found.append(
            {"name": goal.name, "goal": goal.said(), "value": round(value, 3), "met": goal.met(value)}
        )
    return found
