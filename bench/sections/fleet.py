"""Fleets: more coordinators and more workers on the same machine, and what limits them."""

from __future__ import annotations

import os
from typing import Any, Final

from bench.closed import closed_loop, settle
from bench.contestants.amends import amends
from bench.servers import Servers
from bench.waits import Waits

# Coordinators, and workers for each participant.
FLEETS: Final = ((1, 1), (2, 1), (4, 1), (1, 4), (4, 4))
FLEETS_QUICK: Final = ((2, 1),)
SAGAS: Final = 2_000
SAGAS_QUICK: Final = 300
IN_FLIGHT: Final = 1_000

# With so much of its processors at work, a machine has nothing left to give to another process.
BUSY: Final = 0.9


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """By fleet ("2_coordinators_1_workers"): `sagas_per_second`; `cpu_ms` of every part and of all together, a saga;
    `cores_busy`, of `cores`; `waits`: how many sessions of PostgreSQL waited for what, on average, in all and by
    application; `limit`: what holds it back, in words.
    """
    sagas, fleets = (SAGAS_QUICK, FLEETS_QUICK) if quick else (SAGAS, FLEETS)
    figures: dict[str, Any] = {"cores": os.cpu_count(), "in_flight": IN_FLIGHT}
    for coordinators, workers in fleets:
        name = f"{coordinators}_coordinators_{workers}_workers"
        figures[name] = _fleet(servers, sagas, coordinators, workers)
    return figures


def _fleet(servers: Servers, sagas: int, coordinators: int, workers: int) -> dict[str, Any]:
    with amends(servers, coordinators=coordinators, workers=workers) as running:
        with Waits(servers) as waits:
            costs = closed_loop(running, servers, sagas=sagas, in_flight=IN_FLIGHT)
        settle(running)
    rate = costs["sagas_per_second"]
    busy = round(costs["cpu_ms"] * rate / 1000, 2)
    return {
        "sagas_per_second": rate,
        "cores_busy": busy,
        "limit": limit(busy, os.cpu_count() or 1, waits.totals()),
        "cpu_ms": _parts(costs),
        "wal_bytes": costs["wal_bytes"],
        "waits": {"all": waits.totals(), "by_application": waits.sessions()},
    }


def limit(busy: float, cores: int, waits: dict[str, float]) -> str:
    """What holds a fleet back: the processors, or what most sessions waited for."""
    if busy >= BUSY * cores:
        return f"CPU: {busy:g} of {cores} cores are at work"
    inside = {what: many for what, many in waits.items() if not what.startswith(("Client", "its client"))}
    most = max(inside, key=inside.__getitem__, default="nothing")
    return f"{most}: {inside.get(most, 0):g} sessions on average; {busy:g} of {cores} cores are at work"


def _parts(costs: dict[str, float]) -> dict[str, float]:
    """CPU in ms a saga by part: every process of one kind together."""
    parts: dict[str, float] = {}
    for name, ms in costs.items():
        if name.startswith("cpu_ms_"):
            part = name.removeprefix("cpu_ms_").rstrip("0123456789")
            parts[part] = round(parts.get(part, 0.0) + ms, 4)
    return {**parts, "all": costs["cpu_ms"]}
