"""A closed loop: so many sagas in flight until so many have ended."""

from __future__ import annotations

import os
import time
from uuid import uuid4

from bench.contestants.contestant import Contestant
from bench.meters import Meter, per_saga
from bench.servers import Servers

LOOK_S = 0.01
STALLED_S = 60.0
PLACED_MAX = 200


def closed_loop(
    contestant: Contestant, servers: Servers, *, sagas: int, in_flight: int, stalled_s: float = STALLED_S
) -> dict[str, float]:
    """Sagas a second and what one costs. Raises: RuntimeError if none ends for `stalled_s`."""
    warm = min(100, sagas // 10)
    _drive(contestant, warm, in_flight, stalled_s)
    meter = Meter(servers, {**contestant.parts, "front": os.getpid()})
    try:
        before, began = meter.read(), time.monotonic()
        _drive(contestant, sagas, in_flight, stalled_s)
        seconds = time.monotonic() - began
        costs = per_saga(before, meter.read(), sagas)
    finally:
        meter.close()
    return {"sagas_per_second": round(sagas / seconds, 1), **costs}


def _drive(contestant: Contestant, sagas: int, in_flight: int, stalled_s: float) -> None:
    run = uuid4().hex[:8]
    base = contestant.ended()
    placed = ended = 0
    changed_at = time.monotonic()
    while ended < sagas:
        room = min(in_flight - (placed - ended), sagas - placed, PLACED_MAX)
        if room > 0:
            contestant.place([f"{run}-{number}" for number in range(placed, placed + room)])
            placed += room
        contestant.turn()
        now_ended = contestant.ended() - base
        if now_ended > ended:
            ended, changed_at = now_ended, time.monotonic()
        elif time.monotonic() - changed_at > stalled_s:
            raise RuntimeError(f"{contestant.name}: {ended} of {sagas} sagas ended, and no more do")
        if room < PLACED_MAX:
            time.sleep(LOOK_S)


def settle(contestant: Contestant, timeout_s: float = 15.0) -> None:
    """Wait until all that is left to be told and deleted is; then raise what is wrong. Raises: RuntimeError."""
    deadline = time.monotonic() + timeout_s
    while True:
        contestant.turn()
        findings = contestant.findings()
        if not findings:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{contestant.name}: {'; '.join(findings)}")
        time.sleep(0.2)
