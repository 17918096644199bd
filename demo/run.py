"""One run from the first order to the verdicts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from amends.db.engines import transaction
from amends.db.tables import participant as tables
from amends.demo.checks import Case, Verdict, judge
from amends.demo.evidence import TIMERS, UNSENT, Databases, count, gather
from amends.demo.exposition import Samples
from amends.demo.figures import BY_STATUS, Figures, measure
from amends.demo.replay import replay_all
from amends.demo.shop.definition import Order
from amends.demo.shop.front import SERVICE, Front
from amends.demo.stage import PARTICIPANTS, Stage
from amends.outbox.relay import Relay
from amends.outbox.store import OutboxStore

FEW: Final = 20
AHEAD_S: Final = 0.5
MEASURED_S: Final = 0.5  # short, so that a fast stage soon gets what it can take
PLACE_S: Final = 0.05
LOOK_S: Final = 0.1
DRAIN_S: Final = 20.0
SETTLE_S: Final = 0.3
PATIENCE_S: Final = 120.0  # without any saga ending

# Transactions of others that are open in this database: handlers at work.
HANDLERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        AND backend_type = 'client backend'
"""

# Calls to the outside that are under way: they hold no transaction open.
CALLS = "SELECT count(*) FROM amends_barrier WHERE outcome = 'calling'"

ENDED: Final = ("completed", "compensated", "stuck")
Progress = Callable[[dict[str, int]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    figures: Figures
    verdicts: Sequence[Verdict]

    @property
    def passed(self) -> bool:
        """Every invariant holds, every order has ended, none is stuck."""
        unsolved = self.figures.stuck + self.figures.unfinished
        return unsolved == 0 and all(verdict.holds for verdict in self.verdicts)


def run(stage: Stage, orders: Sequence[Order], *, faults: bool, progress: Progress) -> Outcome:
    """Place these orders, wait for their sagas, stop everything, then judge what the databases say.

    Raises: DemoUnfinished if a process of the stage ends by itself; StoreUnavailable.
    """
    databases = stage.databases
    front = Front(databases.front, prefix=stage.prefix)
    relay = Relay(
        databases.front,
        stage.broker,
        store=OutboxStore(tables.outbox, tables.owner),
        prefix=stage.prefix,
        service=SERVICE,
        label="demo front",
    )
    relay.start()
    try:
        place_all(stage, front, orders, progress)
        drain(databases)
        metrics = settled_metrics(stage)
    finally:
        relay.stop()
    queued = stage.rest()
    case = Case(
        evidence=gather(databases),
        replay=replay_all(databases.coordinator),
        queued=queued,
        metrics=metrics,
        faults=faults,
    )
    return Outcome(figures=measure(databases), verdicts=judge(case))


class Pace:
    """How many orders may be under way: what ends in half a second, and a few.

    More would wait in queues until their commands time out, on a slow machine sooner than on a fast one.
    """

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, 0)])

    def under_way_max(self, ended: int, now: float) -> int:
        """The number for now, when so many have ended in all. `now` is in seconds."""
        self._seen.append((now, ended))
        while self._seen[0][0] < now - MEASURED_S and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        per_second = (ended - before) / max(now - since, PLACE_S)
        return FEW + round(per_second * AHEAD_S)


def place_all(stage: Stage, front: Front, orders: Sequence[Order], progress: Progress) -> None:
    """Place the orders at a pace that the stage keeps, until every saga has ended or none does any more."""
    pace = Pace(time.monotonic())
    placed = ended = 0
    last_end = time.monotonic()
    while ended < len(orders) and time.monotonic() - last_end < PATIENCE_S:
        room = pace.under_way_max(ended, time.monotonic()) - (placed - ended)
        if room > 0 and placed < len(orders):
            some = orders[placed : placed + room]
            front.place(some)
            placed += len(some)
        time.sleep(PLACE_S)
        stage.watch()
        statuses = by_status(stage.databases)
        progress(statuses)
        now_ended = sum(statuses.get(status, 0) for status in ENDED)
        if now_ended > ended:
            ended, last_end = now_ended, time.monotonic()


def drain(databases: Databases) -> None:
    """Wait until nothing is under way any more, for a while; what is left then is a finding."""
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline and under_way(databases):
        time.sleep(LOOK_S)


def settled_metrics(stage: Stage) -> Samples | None:
    """The coordinator's metrics once it decides nothing any more: the last late answer leaves no other trace."""
    deadline = time.monotonic() + DRAIN_S
    before: float | None = None
    while True:
        metrics = stage.metrics()
        batches = None if metrics is None else metrics.total("amends_batch_size_count")
        if batches == before or time.monotonic() > deadline:
            return metrics
        before = batches
        time.sleep(SETTLE_S)


def under_way(databases: Databases) -> int:
    """Outbox rows that wait, timers that are armed, handlers that work."""
    rows = 0
    for name, engine in databases.all().items():
        statements = [UNSENT["participant"], HANDLERS]
        if name == "coordinator":
            statements = [UNSENT["coordinator"], TIMERS]
        elif name in PARTICIPANTS:
            statements.append(CALLS)
        with transaction(engine) as connection:
            rows += sum(count(connection, sql) for sql in statements)
    return rows


def by_status(databases: Databases) -> dict[str, int]:
    """How many sagas have which status now."""
    with transaction(databases.coordinator) as connection:
        return {row[0]: int(row[1]) for row in connection.exec_driver_sql(BY_STATUS)}
