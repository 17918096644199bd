"""Latencies: from asking for one saga to its end as anybody can read it, and to its start being acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Final
from uuid import uuid4

from bench.contestants.contestant import Doored

LOOK_S: Final = 0.001
STALLED_S: Final = 30.0
DOORS: Final = 16


def one_in_flight(contestant: Doored, sagas: int) -> tuple[list[float], list[float]]:
    """One saga after the other. Milliseconds from before the start to the end, and to its acknowledgement."""
    run, ends, acks = uuid4().hex[:8], [], []
    for one in range(sagas):
        number, began = f"{run}-{one}", time.perf_counter()
        contestant.start(number)
        acks.append(1000 * (time.perf_counter() - began))
        while not contestant.ended_of([number]):
            _check(contestant, began)
            time.sleep(LOOK_S)
        ends.append(1000 * (time.perf_counter() - began))
    return ends, acks


def at_rate(contestant: Doored, per_second: int, seconds: float) -> tuple[list[float], list[float]]:
    """So many starts a second, whatever becomes of them. Milliseconds, as above.

    Counted from when a saga was to be started: a door that is late counts against it.
    """
    run = uuid4().hex[:8]
    wanted = [f"{run}-{one}" for one in range(int(per_second * seconds))]
    began = time.perf_counter() + 0.05
    due = {number: began + place / per_second for place, number in enumerate(wanted)}
    acks: list[float] = []
    ends: list[float] = []
    pending: set[str] = set()
    lock = threading.Lock()

    def start(number: str) -> None:
        with lock:
            pending.add(number)
        contestant.start(number)
        acks.append(1000 * (time.perf_counter() - due[number]))

    def place() -> None:
        with ThreadPoolExecutor(DOORS) as doors:
            for number in wanted:
                time.sleep(max(0.0, due[number] - time.perf_counter()))
                doors.submit(start, number)

    placing = threading.Thread(target=place, daemon=True)
    placing.start()
    while len(ends) < len(wanted):
        with lock:
            some = list(pending)
        ended = contestant.ended_of(some) if some else set()
        now = time.perf_counter()
        ends += [1000 * (now - due[number]) for number in ended]
        with lock:
            pending -= ended
        _check(contestant, due[wanted[-1]])
        time.sleep(2 * LOOK_S)
    placing.join()
    return ends, acks


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Milliseconds: p50, p99, p99.9."""
    cuts = quantiles(values, n=1000, method="inclusive")
    return {"p50_ms": round(cuts[499], 2), "p99_ms": round(cuts[989], 2), "p999_ms": round(cuts[998], 2)}


def _check(contestant: Doored, began: float) -> None:
    if time.perf_counter() - began > STALLED_S:
        contestant.ended()  # Tells of a process that is gone.
        raise RuntimeError(f"{contestant.name}: a saga did not end within {STALLED_S:g} s")
