"""Section 3: the relay alone, from an outbox table to a quorum queue."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

from bench.mailbox import mailbox
from bench.servers import Servers


def measure(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """How fast `amends relay` carries 100,000 rows (quick: 20,000) until the table is empty, and what that costs.

    The rows were inserted by one writer, or by ten whose transactions overlap, so that ids do not follow commits; they
    become visible when the measurement begins. `one_confirm` is a loop with the same claims and deletes that waits
    for the confirm of each message; it runs before and after.

    `relay_one_writer_...`, `relay_ten_writers_...`, `one_confirm_...`: `per_second` in messages, medians; `_low` and
    `_high` its extremes; `cpu_ms` of CPU per message, in all and by process; `wal_bytes` per message.
    `relay_ratio`: messages per second, the slower of one and ten writers, against one confirm per message.
    """
    rows, slow_rows = (20_000, 1_000) if quick else (100_000, 3_000)
    contestants = {
        "one_confirm": ("one_confirm", slow_rows, 1),
        "relay_one_writer": ("relay", rows, 1),
        "relay_ten_writers": ("relay", rows, 10),
    }
    seen: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for name in (*contestants, "one_confirm"):
        kind, count, writers = contestants[name]
        with mailbox(servers) as box, box.carrier(kind) as carrier:
            seen[name].append(carrier.until_empty(count, writers))
    figures: dict[str, Any] = {"relay_rows": rows, "one_confirm_rows": slow_rows}
    for name, runs in seen.items():
        for what in runs[0]:
            figures[f"{name}_{what}"] = round(median(run[what] for run in runs), 4)
        speeds = [run["per_second"] for run in runs]
        figures[f"{name}_per_second_low"], figures[f"{name}_per_second_high"] = min(speeds), max(speeds)
    slower = min(figures["relay_one_writer_per_second"], figures["relay_ten_writers_per_second"])
    figures["relay_ratio"] = round(slower / figures["one_confirm_per_second"], 2)
    return figures
