"""Sections 1 and 2: sagas a second at 1,000 and 50 in flight, and latencies, of everybody, in turn, several rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.closed import closed_loop, settle
from bench.contestants.amends import amends
from bench.contestants.bare import bare
from bench.contestants.contestant import Contestant, Doored
from bench.latency import at_rate, one_in_flight, percentiles
from bench.servers import Servers

BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant: how to run it, how many sagas a round is worth, and whether it has a door for single ones."""

    name: str
    run: Callable[[Servers], AbstractContextManager[Contestant]]
    sagas: int
    latencies: bool = False


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    share: float  # of the sagas of a full run
    singles: int
    rate_s: float

    @classmethod
    def of(cls, quick: bool) -> Effort:
        """For a quick run, or a full one."""
        return cls(1, 0.3, 40, 3.0) if quick else cls(3, 1.0, 60, 4.0)


def entries() -> list[Entry]:
    """Everybody, in the order of a round."""
    from bench.contestants.celery import celery
    from bench.contestants.dbos import dbos

    return [
        Entry("amends", lambda servers: amends(servers), 1_500, latencies=True),
        Entry("bare loop", bare, 3_000, latencies=True),
        Entry(f"amends, batch={BATCH}", lambda servers: amends(servers, batch=BATCH), 3_000),
        Entry("DBOS", dbos, 350, latencies=True),
        Entry("Celery", lambda servers: celery(servers, results=False), 1_500),
        Entry("Celery, database results", lambda servers: celery(servers, results=True), 350),
    ]


def measure(
    servers: Servers, *, quick: bool, told: Callable[[str], None], only: Sequence[str] = ()
) -> dict[str, Any]:
    """Medians over the rounds, each round's figures beside them.

    Of each contestant: `in_flight_1000` and `in_flight_50` with sagas a second, CPU milliseconds and bytes of WAL a
    saga; `single`, `rate_10` and `rate_100` with latencies in milliseconds, pooled over the rounds.
    """
    effort = Effort.of(quick)
    chosen = [entry for entry in entries() if not only or entry.name in only]
    closed: dict[str, dict[str, list[dict[str, float]]]] = {
        entry.name: {"in_flight_1000": [], "in_flight_50": []} for entry in chosen
    }
    pooled: dict[str, dict[str, list[float]]] = {entry.name: {} for entry in chosen if entry.latencies}
    for number in range(effort.rounds):
        for entry in chosen:
            told(f"round {number + 1} of {effort.rounds}: {entry.name}")
            with entry.run(servers) as contestant:
                for in_flight in (1_000, 50):
                    sagas = int(entry.sagas * effort.share)
                    figures = closed_loop(contestant, servers, sagas=sagas, in_flight=in_flight)
                    closed[entry.name][f"in_flight_{in_flight}"].append(figures)
                if entry.latencies:
                    _latencies(contestant, effort, pooled[entry.name])  # type: ignore[arg-type]
                settle(contestant)
    return {
        entry.name: {
            **{name: _medians(rounds) for name, rounds in closed[entry.name].items()},
            **{name: percentiles(values) for name, values in pooled.get(entry.name, {}).items()},
        }
        for entry in chosen
    }


def _latencies(contestant: Doored, effort: Effort, pooled: dict[str, list[float]]) -> None:
    one_in_flight(contestant, 5)
    measured = {"single": one_in_flight(contestant, effort.singles)}
    for rate in (10, 100):
        measured[f"rate_{rate}"] = at_rate(contestant, rate, effort.rate_s)
    for name, (ends, acks) in measured.items():
        pooled.setdefault(name, []).extend(ends)
        pooled.setdefault(f"{name}_acknowledged", []).extend(acks)


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    rates = [one["sagas_per_second"] for one in rounds]
    return {
        **{name: round(median(one[name] for one in rounds), 4) for name in rounds[0]},
        "least": min(rates),
        "most": max(rates),
        "rounds": rates,
    }
