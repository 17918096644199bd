"""Start-up and size: how soon amends is there, what it holds in memory, and how fast its demo is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import psutil
import psycopg

from bench.closed import settle
from bench.contestants.amends import Amends, amends
from bench.contestants.coordinated import LOOKING
from bench.contestants.processes import ROOT, environment
from bench.order import PARTICIPANTS
from bench.servers import Servers

WORKER: Final = PARTICIPANTS[0]
IN_FLIGHT: Final = 10_000
IN_FLIGHT_QUICK: Final = 1_000
PLACED_AT_ONCE: Final = 500
DEMO_RUNS: Final = 3
DEMO_SAGAS: Final = 1_000
DEMO_SAGAS_QUICK: Final = 300
IDLE_S: Final = 1.0
LOOK_S: Final = 0.02
PATIENCE_S: Final = 60.0  # without anything new
MIB: Final = 1024 * 1024

RUNNING = "SELECT count(*) FROM amends.saga WHERE ended_at IS NULL"
SIZE = "SELECT pg_database_size(current_database())"
UNSENT = "SELECT count(*) FROM amends_outbox"


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """Seconds of start-up: `coordinator_ready_seconds`, `worker_ready_seconds`, `demo_first_saga_seconds` (from the
    command to the end of the first saga).

    MiB of resident memory: `coordinator_mib_idle`, `coordinator_mib_10000` (so many sagas in flight),
    `coordinator_mib_peak` (while they then go on), the same of `worker` and `relay`; also as `uss`, what is its own
    alone. `drained_sagas_per_second`: how fast they go on. `..._disk_bytes_a_saga`: what a finished saga leaves.

    The demo's 1,000 orders without faults, in one process: `demo_sagas_per_second` (the median run) and
    `demo_whole_seconds`, from command to prompt.
    """
    in_flight = IN_FLIGHT_QUICK if quick else IN_FLIGHT
    with amends(servers) as running:
        figures = _started(running)
        time.sleep(IDLE_S)
        figures |= _memory(running, "idle")
        before = _disk(running)
        figures |= _in_flight(running, in_flight)
        settle(running)
        after = _disk(running)
        figures |= {name: round((after[name] - before[name]) / in_flight) for name in after}
    return {**figures, **(_demo(1, DEMO_SAGAS_QUICK) if quick else _demo(DEMO_RUNS, DEMO_SAGAS))}


def _started(running: Amends) -> dict[str, float]:
    """How long a coordinator and a worker take until they do what they are for; their tables are there already."""
    seconds = {}
    for part, name, is_ready in (
        ("coordinator", "coordinator", running.await_ready),
        ("worker", WORKER, lambda: _until(lambda: running.listens(WORKER))),
    ):
        running.processes.pause(name)
        began = time.monotonic()
        running.processes.resume(name)
        is_ready()
        seconds[f"{part}_ready_seconds"] = round(time.monotonic() - began, 2)
    return seconds


def _memory(running: Amends, when: str) -> dict[str, float]:
    """MiB of the processes that are there now."""
    figures = {}
    for part, name in (("coordinator", "coordinator"), ("worker", WORKER), ("relay", "relay")):
        if name in running.parts:
            memory = psutil.Process(running.parts[name]).memory_full_info()
            figures[f"{part}_mib_{when}"] = round(memory.rss / MIB, 1)
            figures[f"{part}_uss_mib_{when}"] = round(memory.uss / MIB, 1)
    return figures


def _disk(running: Amends) -> dict[str, int]:
    """Bytes of the databases, the three participants' together."""
    made = running.databases
    sizes = {"coordinator": _count(made.coordinator, SIZE), "front": _count(made.front, SIZE)}
    sizes["participants"] = sum(_count(url, SIZE) for url in made.participants.values())
    return {f"{part}_disk_bytes_a_saga": size for part, size in sizes.items()}


def _in_flight(running: Amends, many: int) -> dict[str, float]:
    """Let so many sagas wait for participants that are away; look; let them go on to their ends."""
    for name in PARTICIPANTS:
        running.processes.pause(name)
    for first in range(0, many, PLACED_AT_ONCE):
        running.place([f"size-{number}" for number in range(first, min(first + PLACED_AT_ONCE, many))])
        already = first
        _until(lambda: _count(running.databases.coordinator, RUNNING) > already)  # noqa: B023 - As above.
    _until(lambda: _count(running.databases.coordinator, RUNNING) == many)
    _until(lambda: _count(running.databases.front, UNSENT) == 0)  # Each start is receipted: all is quiet.
    figures = _memory(running, str(many))
    for name in PARTICIPANTS:
        running.processes.resume(name)
    began, peaks = time.monotonic(), {"coordinator": 0.0, "worker": 0.0}
    processes = {
        part: psutil.Process(running.parts[name])
        for part, name in (("coordinator", "coordinator"), ("worker", WORKER))
    }

    def ended() -> int:
        for part, process in processes.items():
            peaks[part] = max(peaks[part], process.memory_info().rss / MIB)
        return running.ended()

    while (before := ended()) < many:
        _until(lambda: ended() > before)
    figures["drained_sagas_per_second"] = round(many / (time.monotonic() - began), 1)
    return {**figures, **{f"{part}_mib_peak": round(peak, 1) for part, peak in peaks.items()}}


def _demo(runs: int, sagas: int) -> dict[str, float]:
    """Whole runs of the demo, invariants checked: first as `bench.demo`, then as `amends demo`."""
    began_at, began = time.time(), time.monotonic()
    told = _told("bench.demo", str(sagas))
    first, rates, wholes = told["first_ended_at"] - began_at, [told["sagas_per_second"]], []
    wholes.append(time.monotonic() - began)
    for _ in range(runs - 1):
        began = time.monotonic()
        told = _told("amends.db.cli", "demo", "--faults", "none", "--json", "--sagas", str(sagas))
        wholes.append(time.monotonic() - began)
        rates.append(told["sagas_per_second"])
    return {
        "demo_sagas_per_second": round(median(rates), 1),
        "demo_sagas_per_second_least": round(min(rates), 1),
        "demo_first_saga_seconds": round(first, 2),
        "demo_whole_seconds": round(median(wholes), 1),
    }


def _told(*arguments: str) -> dict[str, Any]:
    """What `python -m ARGUMENTS` prints. Raises: CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _count(database: str, statement: str) -> int:
    with psycopg.connect(database, autocommit=True, application_name=LOOKING) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row[0])


def _until(holds: Callable[[], bool]) -> None:
    """Wait until something holds. Raises: TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to pass")
        time.sleep(LOOK_S)
