"""Sagas with children, and signals, in coordinators that may be killed and with a broker that may be wiped.

Two coordinators are processes of their own; the participants and the shop, which nobody kills here, are threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid5

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from amends.coordinator import Saga, call, chain, pivot, retry, step, wait
from amends.coordinator.saga.identity import CHILD_IDS
from amends.db.guarded import Guarded
from amends.db.private_postgres import free_port, tail
from amends.demo.config import child_environment
from amends.demo.databases import url_of
from amends.outbox.broker import open_broker
from tests.engine.world import World
from tests.interleavings.services import Service, refuse
from tests.interleavings.shop import Shop
from tests.outbox.rows import ids
from tests.waiting import eventually

SOON: Final = retry(first="200ms", factor=2, longest="1s")


def brisk(name: str, do: str, undo: str | None = None) -> object:
    """A step whose lost messages are made good soon."""
    to = "inventory" if do == "reserve" else "payments"
    if undo is None:
        return step(name, to=to, do=do, undo=None, timeout="2s", retry=SOON)
    return step(name, to=to, do=do, undo=undo, timeout="2s", retry=SOON, undo_timeout="2s", undo_retry=SOON)


CHARGE = brisk("charge", "charge", "refund")
CHILD: Final = Saga(
    "pack",
    chain(brisk("reserve", "reserve", "release"), wait("packed"), brisk("charge", "charge", "refund")),
    version=1,
)
PIVOT: Final = pivot(step("notify", to="payments", timeout="2s", retry=SOON))
PACK: Final = call("pack", name="packing")
PARENTS: Final = {
    "settled": Saga("settled", chain(PACK, CHARGE, PIVOT), version=1),
    "compensated": Saga("compensated", chain(PACK, CHARGE, PIVOT), version=1),
    "after": Saga("after", chain(CHARGE, PIVOT, PACK), version=1),
    "pivot": Saga("pivot", chain(CHARGE, pivot(PACK)), version=1),
    # Its child waits for a signal that nobody sends: it is asked, at the deadline, and says no (K5).
    "fenced": Saga("fenced", chain(CHARGE, pivot(PACK)), version=1),
}
# What has happened in the end: to the parent at payments, to the child at inventory, to the child at payments.
ENDS: Final[dict[str, tuple[str, list[str], list[str], list[str]]]] = {
    "settled": ("completed", ["charge", "notify"], ["reserve"], ["charge"]),
    "compensated": ("compensated", ["charge", "refund"], ["reserve", "release"], ["charge", "refund"]),
    "after": ("completed", ["charge", "notify"], ["reserve"], ["charge"]),
    "pivot": ("completed", ["charge"], ["reserve"], ["charge"]),
    "fenced": ("compensated", ["charge", "refund"], ["reserve", "release"], []),
}
# The deadline of a parent whose child waits is now.
DEADLINES: Final = (
    """
    UPDATE amends.saga AS parent SET deadline_ms = parent.clock_ms
    FROM amends.saga AS child JOIN amends.step ON step.saga_id = child.id AND step.path = 'packed'
    WHERE child.parent_id = parent.id AND parent.name = 'fenced' AND parent.deadline_ms > parent.clock_ms
        AND parent.status = 'running' AND step.phase = 'waiting'
    """,
    """
    UPDATE amends.timer SET due_at = now() FROM amends.saga
    WHERE saga.id = timer.saga_id AND timer.path = '' AND timer.due_at > now() AND saga.deadline_ms <= saga.clock_ms
    """,
)


@dataclass(frozen=True)
class Family:
    """A parent and its child, by id."""

    kind: str
    parent: str
    child: str


class Families:
    """A shop that starts families and sends signals; coordinators, by name."""

    def __init__(
        self, world: World, shop: Shop, services: dict[str, Service], broker_url: str, directory: Path
    ) -> None:
        self.world = world  # Never started: it only looks.
        self.shop = shop
        self.services = services
        self.all: list[Family] = []
        self._broker_url = broker_url
        self._directory = directory
        self._processes: dict[str, Guarded] = {}
        self.urls: dict[str, str] = {}

    def start(self, name: str, crash_at: str | None = None) -> None:
        """Start a coordinator; with `crash_at` it kills itself there."""
        port = free_port()
        process = Guarded(
            [sys.executable, "-m", "amends.db.cli", "coordinator", "--port", str(port)],
            directory=self._directory,
            log=self._directory / f"{name}.log",
            env=child_environment(
                AMENDS_DATABASE_URL=url_of(self.world.database),
                AMENDS_BROKER_URL=self._broker_url,
                AMENDS_PREFIX=self.world.prefix,
                **({"AMENDS_CRASH_AT": crash_at} if crash_at else {}),
            ),
        )
        process.start()
        self._processes[name] = process
        self.urls[name] = f"http://127.0.0.1:{port}"

    def running(self, name: str) -> bool:
        """Whether this coordinator still runs."""
        return self._processes[name].alive()

    def end(self, name: str, *, kill: bool = False) -> None:
        """Stop a coordinator, or kill it."""
        process = self._processes.pop(name)
        if kill:
            process.kill()
        process.close()

    def end_all(self) -> None:
        """Stop every coordinator."""
        for name in list(self._processes):
            self.end(name)

    def found(self) -> list[Family]:
        """Start one family of each kind, and signal their children, in one transaction of the shop's."""
        with Session(self.shop.database) as session, session.begin():
            families = [self._found(session, kind) for kind in PARENTS]
        self.all += families
        return families

    def _found(self, session: Session, kind: str) -> Family:
        number = len(self.all)
        parent = self.shop.client.start(session, PARENTS[kind], {}, key=f"{kind}-{number}")
        family = Family(kind, parent, str(uuid5(CHILD_IDS, f"{parent}\npacking\n0")))
        if kind == "compensated":
            self.services["payments"].on(parent, "notify", refuse())
        if kind != "fenced":
            self.shop.client.signal(session, family.child, "packed", number)
        return family

    def pass_deadlines(self) -> None:
        """Of the families whose child waits in vain."""
        with self.world.database.begin() as connection:
            for statement in DEADLINES:
                connection.exec_driver_sql(statement)

    def ended(self) -> int:
        """How many sagas have ended."""
        return int(self.world.value("SELECT count(*) FROM amends.saga WHERE ended_at IS NOT NULL"))

    def wait_until_ended(self, deadline_s: float) -> None:
        """Wait until every parent and child has ended, and nothing is under way any more."""
        wanted = 2 * len(self.all)

        def ended() -> bool:
            self.pass_deadlines()
            return self.ended() == wanted

        eventually(ended, deadline_s, what=f"{wanted} sagas to end: {self._unfinished()}")
        eventually(self.world.drained, what="the coordinators' outbox to be empty")
        self.shop.drains()

    def end_of(self, family: Family) -> tuple[str, list[str], list[str], list[str]]:
        """How a family has ended, as in `ENDS`; parent and child must have come to the same."""
        parent, child = self.world.status(family.parent), self.world.status(family.child)
        payments, inventory = self.services["payments"], self.services["inventory"]
        effects = (
            payments.effects(family.parent),
            inventory.effects(family.child),
            payments.effects(family.child),
        )
        return (parent if parent == child else f"{parent}, child {child}"), *effects

    def _unfinished(self) -> dict[str, str]:
        return {path.stem: tail(path) for path in sorted(self._directory.glob("*.log"))}


@contextmanager
def families(
    coordinator: Engine, make_participant: Callable[[], Engine], broker_url: str, directory: Path
) -> Iterator[Families]:
    """A shop and participants, with no coordinator yet."""
    broker = open_broker(broker_url)
    with ExitStack() as ends:
        ends.callback(broker.close)
        world = World(coordinator, broker, "families")
        ends.callback(world.close)
        services = {
            "payments": Service("payments", {"charge": "refund", "notify": None}, make_participant()),
            "inventory": Service("inventory", {"reserve": "release"}, make_participant()),
        }
        for saga in (CHILD, *PARENTS.values()):
            world.register(saga)
        for service in services.values():
            worker = service.worker(broker, world.prefix)
            worker.start()
            ends.callback(worker.stop)
        shop = Shop(make_participant(), broker, world.prefix)
        ends.enter_context(shop.relaying())
        built = Families(world, shop, services, broker_url, directory)
        ends.callback(built.end_all)
        yield built


def sent(families_: Families) -> bool:
    """Whether the broker has confirmed all that the shop wrote, and nobody receipted it."""
    database = families_.shop.database
    with database.connect() as connection:
        unsent = connection.exec_driver_sql("SELECT count(*) FROM amends_outbox WHERE sent_at IS NULL")
        return unsent.scalar_one() == 0 and bool(ids(database))
