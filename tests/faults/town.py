"""The demo's shop as separate processes that may be killed and started again, in any order, any number of each."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from amends.coordinator.catalog import Catalog
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.demo.checks import Case, Verdict, judge
from amends.demo.config import child_environment
from amends.demo.databases import made_databases, url_of
from amends.demo.evidence import Databases, gather
from amends.demo.replay import replay_all
from amends.demo.run import under_way
from amends.demo.shop.definition import Order, place_order
from amends.demo.shop.front import SERVICE, Front
from amends.demo.stage import PARTICIPANTS, topology
from amends.outbox.ports import dead_letter_queue
from amends.outbox.removal import remove
from tests.faults.patience import patient_order
from tests.waiting import eventually

# Handlers that hang do so for less; what an external call leaves in doubt is leased for half a minute more.
TIME_LIMIT_S: Final = 5
PROBES: Final = (
    "SELECT coalesce(max(probes) FILTER (WHERE state = 'open'), -1) FROM amends.breaker WHERE queue = %s"
)
CHARGES_SENT: Final = "SELECT coalesce(sum(attempt), 0) FROM amends.step WHERE path = 'charge' AND op = 'do'"
AWAITED: Final = "SELECT count(*) FROM amends.step WHERE path = %s AND phase = 'awaiting'"
STARTS_SENT: Final = "SELECT count(*) FROM amends_outbox WHERE sent_at IS NOT NULL"
UNCONFIRMED_S: Final = (
    "SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM amends_outbox WHERE sent_at IS NULL"
)
GIVEN_UP: Final = "SELECT count(*) FROM amends.saga WHERE backwards AND error NOT LIKE '%%refused%%'"
NOT_ENDED: Final = """\
SELECT s.id::text, s.status, p.path, p.op, p.phase, p.attempt, p.error, t.due_at::text, t.outbox_id, b.queue, b.state
FROM amends.saga s LEFT JOIN amends.step p ON p.saga_id = s.id AND p.phase NOT IN ('done', 'undone')
LEFT JOIN amends.timer t ON t.saga_id = s.id AND t.path = p.path
LEFT JOIN amends.breaker b ON b.queue = p.queue
WHERE s.ended_at IS NULL ORDER BY s.started_ms, p.path LIMIT 12"""
UNRECEIPTED: Final = "SELECT id, created_at::text, sent_at::text FROM amends_outbox ORDER BY id LIMIT 3"
METRICS: Final = 17  # the invariant that speaks of them
ENDED: Final = "SELECT count(*) FROM amends.saga WHERE ended_at IS NOT NULL"


class Town:
    """Coordinators, participants and the front's relay, by name: `coordinator`, `coordinator-2`, `payments` ..."""

    def __init__(
        self, databases: Databases, broker_url: str, prefix: str, directory: Path, orders: Sequence[Order]
    ) -> None:
        self.databases = databases
        self.broker_url = broker_url
        self.prefix = prefix
        self.orders = list(orders)
        self.placed = 0
        self._directory = directory
        self._front = Front(databases.front, prefix=prefix)
        self._patient_front = Front(databases.front, prefix=prefix, saga=patient_order)
        self._processes: dict[str, Guarded] = {}
        self._starts = 0

    def start(self, name: str, crash_at: str | None = None) -> None:
        """Start a process; with `crash_at` it kills itself there."""
        kind = name.partition("-")[0]
        self._starts += 1
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", *self._command(kind)],
            directory=self._directory,
            log=self.log(name),
            env=child_environment(
                AMENDS_DATABASE_URL=url_of(self._database(kind)),
                AMENDS_BROKER_URL=self.broker_url,
                AMENDS_PREFIX=self.prefix,
                **({"AMENDS_CRASH_AT": crash_at} if crash_at else {}),
            ),
        )
        process.start()
        self._processes[name] = process

    def start_all(self, *more: str) -> None:
        """One of each, and these."""
        for name in ("coordinator", *PARTICIPANTS, "relay", *more):
            self.start(name)

    def running(self, name: str) -> bool:
        """Whether this process still runs."""
        return self._processes[name].alive()

    def end(self, name: str, *, kill: bool = False) -> None:
        """Stop or kill a process."""
        process = self._processes.pop(name)
        if kill:
            process.kill()
        process.close()

    def end_all(self) -> None:
        """Stop everything."""
        for name in list(self._processes):
            self.end(name)

    def forget_connections(self) -> None:
        """The database was away: what a pool still holds leads nowhere."""
        for engine in self.databases.all().values():
            engine.dispose()

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self._directory / f"{name}.log"

    def place(self, count: int, *, patient: bool = False) -> None:
        """Place the next orders in the front's database; `patient`: as sagas that no timer saves."""
        some = self.orders[self.placed : self.placed + count]
        (self._patient_front if patient else self._front).place(some)
        self.placed += len(some)

    def ended(self) -> int:
        """How many sagas have ended; 0 while the database is away."""
        try:
            with transaction(self.databases.coordinator) as connection:
                return int(connection.exec_driver_sql(ENDED).scalar_one())
        except StoreUnavailable:
            return 0

    def probes(self, queue: str) -> int:
        """How often this queue's open breaker was probed; -1 while it is closed (M6)."""
        return self._count(PROBES, queue)

    def charges_sent(self) -> int:
        """How many commands to charge a card were sent, in all."""
        return self._count(CHARGES_SENT)

    def awaited(self, path: str) -> int:
        """How many commands of this step were sent and are not answered yet."""
        return self._count(AWAITED, path)

    def starts_sent(self) -> int:
        """How many starts the broker has confirmed, and no coordinator receipted (O1)."""
        with transaction(self.databases.front) as connection:
            return int(connection.exec_driver_sql(STARTS_SENT).scalar_one())

    def unconfirmed_s(self, part: str) -> float:
        """For how many seconds the oldest message of a participant, or of the front, has waited for its confirm."""
        with transaction(self.databases.all()[part]) as connection:
            return float(connection.exec_driver_sql(UNCONFIRMED_S).scalar_one())

    def given_up(self) -> int:
        """How many sagas turned back for another reason than a refusal."""
        return self._count(GIVEN_UP)

    def _count(self, sql: str, *parameters: str) -> int:
        with transaction(self.databases.coordinator) as connection:
            return int(connection.exec_driver_sql(sql, parameters).scalar_one())

    def wait_until_ended(self, deadline_s: float) -> None:
        """Wait until every placed order's saga has ended, and nothing is under way any more."""
        try:
            eventually(lambda: self.ended() == self.placed, deadline_s, what=f"{self.placed} sagas to end")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._not_ended()}; {self.tails()}") from error
        eventually(lambda: under_way(self.databases) == 0, what="everything to drain")

    def _not_ended(self) -> dict[str, list[tuple[object, ...]]]:
        found = {}
        for what, engine, sql in (
            ("sagas", self.databases.coordinator, NOT_ENDED),
            ("starts", self.databases.front, UNRECEIPTED),
        ):
            with transaction(engine) as connection:
                found[what] = [tuple(row) for row in connection.exec_driver_sql(sql)]
        return found

    def verdicts(self) -> list[Verdict]:
        """Stop everything, then judge what the databases and queues say.

        Not the metrics (17): processes that were killed have forgotten what they counted.
        """
        self.end_all()
        held = remove(self.broker_url, topology(self.prefix))
        held.pop(dead_letter_queue(self.prefix))
        case = Case(
            evidence=gather(self.databases),
            replay=replay_all(self.databases.coordinator),
            queued=held,
            metrics=None,
            faults=True,
        )
        return [verdict for verdict in judge(case) if verdict.number != METRICS]

    def tails(self) -> dict[str, str]:
        """How each log ends."""
        return {path.stem: tail(path) for path in sorted(self._directory.glob("*.log"))}

    def _command(self, kind: str) -> list[str]:
        if kind == "coordinator":
            return ["coordinator", "--port", str(free_port())]
        if kind == "relay":
            return ["relay", "--service", SERVICE]
        return ["participant", f"amends.demo.shop.{kind}:{kind}", "--time-limit", str(TIME_LIMIT_S)]

    def _database(self, kind: str) -> Engine:
        return self.databases.all()["front" if kind == "relay" else kind]


@contextmanager
def town(postgres_url: str, broker_url: str, prefix: str, orders: Sequence[Order]) -> Iterator[Town]:
    """A town with nobody in it yet; its processes and databases are gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="amends-town-") as directory,
        made_databases(postgres_url, orders, faults=True) as databases,
        ExitStack() as ends,
    ):
        for saga in (place_order, patient_order):
            Catalog(databases.coordinator).register(saga.definition, actor="the town")
        built = Town(databases, broker_url, prefix, Path(directory), orders)
        ends.callback(built.end_all)
        yield built


def assert_all_hold(verdicts: Sequence[Verdict]) -> None:
    """Every invariant, by its number, with what speaks against it."""
    broken = {verdict.number: verdict.said() for verdict in verdicts if not verdict.holds}
    assert not broken, broken
