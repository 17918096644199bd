"""What a saga costs while a million finished ones are in the coordinator's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, Final

import psycopg

from bench.closed import closed_loop, settle
from bench.contestants.amends import Amends, amends
from bench.growth.ageing import age, example
from bench.growth.tended import Tended
from bench.order import NAME
from bench.servers import Servers

IN_FLIGHT: Final = 500
WARM: Final = 200

ONE: Final = "SELECT id::text FROM amends.saga WHERE name = %s AND status = 'completed' LIMIT 1"


def measure(servers: Servers, young: Amends, *, quick: bool) -> dict[str, Any]:
    """Sagas through two systems in turn: `young`, and one whose tables hold a million finished sagas (quick: 20,000).

    Saga, step and log rows of these are copies of a real one, under random ids, vacuumed and analysed.
    The cost is the CPU of all processes: coordinator, participants, the front and its relay, PostgreSQL, RabbitMQ.

    `finished_cpu_ms_none`, `finished_cpu_ms_N`: CPU ms per saga, medians; `finished_wal_bytes_...` per saga;
    `finished_sagas_per_second_...`. `finished_cost_ratio_N`: of the CPU, median of each round's ratio.
    """
    finished, sagas, rounds = (20_000, 200, 1) if quick else (1_000_000, 1_000, 3)
    seen: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as ends:
        none = ends.enter_context(_tended(young))
        closed_loop(none, servers, sagas=WARM, in_flight=IN_FLIGHT)
        settle(none)
        like = example(young.databases.coordinator, _ended_one(young))
        old = ends.enter_context(amends(servers, prepare=lambda made: age(made.coordinator, like, finished)))
        many = ends.enter_context(_tended(old))
        closed_loop(many, servers, sagas=WARM, in_flight=IN_FLIGHT)
        for number in range(rounds):
            systems = [("none", none), (str(finished), many)]
            for name, system in systems if number % 2 == 0 else reversed(systems):
                system.begin()
                seen[name].append(closed_loop(system, servers, sagas=sagas, in_flight=IN_FLIGHT))
        settle(none)
        settle(many)
    figures: dict[str, Any] = {}
    for name, runs in seen.items():
        for what in ("cpu_ms", "cpu_ms_postgresql", "cpu_ms_coordinator", "wal_bytes", "sagas_per_second"):
            figures[f"finished_{what}_{name}"] = median(run[what] for run in runs)
    ratios = [
        run["cpu_ms"] / without["cpu_ms"]
        for run, without in zip(seen[str(finished)], seen["none"], strict=True)
    ]
    figures[f"finished_cost_ratio_{finished}"] = round(median(ratios), 3)
    figures[f"finished_cost_ratio_{finished}_rounds"] = [round(ratio, 3) for ratio in ratios]
    return figures


@contextmanager
def _tended(amends: Amends) -> Iterator[Tended]:
    tended = Tended(amends, NAME)
    try:
        yield tended
    finally:
        tended.close()


def _ended_one(young: Amends) -> str:
    with psycopg.connect(young.databases.coordinator) as connection:
        row = connection.execute(ONE, (NAME,)).fetchone()
    assert row is not None
    return str(row[0])
