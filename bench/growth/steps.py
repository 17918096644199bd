"""What a step costs in sagas of 3, 100 and 10,000 steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from amends.db.engines import open_engine, transaction
from amends.participants import Client
from bench.closed import closed_loop, settle
from bench.contestants.amends import Amends
from bench.contestants.databases import sqlalchemy_url
from bench.growth.tended import Tended
from bench.growth.wide import STEPS_IN_FLIGHT, bench_wide
from bench.servers import Servers

STALLED_S: Final = 240.0  # a saga of 10,000 steps ends once


class Wide(Tended):
    """Places sagas of `steps` steps each."""

    def __init__(self, amends: Amends) -> None:
        super().__init__(amends, bench_wide.name)
        self.steps = 1
        self._front = open_engine(sqlalchemy_url(amends.databases.front))
        self._client = Client("front", prefix=amends.prefix)

    def place(self, numbers: Sequence[str]) -> None:
        lines = [f"line-{number:05}" for number in range(self.steps)]
        with transaction(self._front) as connection:
            for number in numbers:
                self._client.start(connection, bench_wide, {"lines": lines}, key=number)
        self.placed += len(numbers)

    def close(self) -> None:
        self._front.dispose()
        super().close()


def measure(servers: Servers, amends: Amends, *, quick: bool) -> dict[str, Any]:
    """Sagas of an `each` over 3, 100 and 10,000 lines (quick: 1,000), a hundred steps in flight in each case.

    So many sagas run at once as make a hundred steps: 33 of 3, one of 100, one of 10,000, whose `at_most` is 100.
    The cost is the CPU of all processes; the cost of starting and ending a saga is part of it.

    `step_cpu_ms_N`: CPU ms per step, medians; `step_cpu_ms_coordinator_N`, `step_cpu_ms_postgresql_N`;
    `step_seconds_N`: of the whole run divided by its steps; `step_cost_ratio_N`: against 3 steps, of the CPU.
    """
    most = 1_000 if quick else 10_000
    lengths = (3, 100, most)
    seen: defaultdict[int, list[dict[str, float]]] = defaultdict(list)
    wide = Wide(amends)
    try:
        # The short ones before and after: what drifts is nobody's advantage.
        for steps in (*lengths, 3):
            seen[steps].append(_run(wide, servers, steps, most // 2 if steps < most else most))
        settle(wide)
    finally:
        wide.close()
    figures: dict[str, Any] = {}
    for steps, runs in seen.items():
        for what in runs[0]:
            figures[f"step_{what}_{steps}"] = round(median(run[what] for run in runs), 5)
    for steps in lengths[1:]:
        ratio = figures[f"step_cpu_ms_{steps}"] / figures["step_cpu_ms_3"]
        figures[f"step_cost_ratio_{steps}"] = round(ratio, 3)
    return figures


def _run(wide: Wide, servers: Servers, steps: int, steps_in_all: int) -> dict[str, float]:
    """About so many steps, in sagas of `steps`; figures per step."""
    sagas = max(1, steps_in_all // steps)
    wide.begin()
    wide.steps = steps
    figures = closed_loop(
        wide, servers, sagas=sagas, in_flight=max(1, STEPS_IN_FLIGHT // steps), stalled_s=STALLED_S
    )
    per_step = {name: value / steps for name, value in figures.items() if name.startswith("cpu_ms")}
    return {**per_step, "seconds": 1 / (figures["sagas_per_second"] * steps)}
