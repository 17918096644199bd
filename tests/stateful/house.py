"""One database, its clock, its relay, and engines on it; emptied between runs."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Final

import pytest
from sqlalchemy import Engine

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine.kin import OWN_SERVICE
from amends.coordinator.observer import NullObserver
from amends.coordinator.saga.definition import Definition
from amends.db.tables import coordinator as tables
from amends.outbox.observer import Unobserved
from amends.outbox.ports import receipts_queue
from amends.outbox.receipts import Receipts
from amends.outbox.storage import OwnerRules
from amends.outbox.store import OutboxStore
from amends.outbox.sweep import Sweep, SweepLimits
from tests.stateful.clock import Clock
from tests.stateful.post import Post
from tests.stateful.sagas import ALL
from tests.stateful.stepped import Stepped

EMPTY: Final = """
    DELETE FROM amends.saga; DELETE FROM amends.outbox; DELETE FROM amends.owner; DELETE FROM amends.breaker;
    DELETE FROM amends.spent_id; DELETE FROM amends.refused_start; DELETE FROM amends.audit;
    DELETE FROM amends.quarantine; DELETE FROM amends.suspension;
    UPDATE amends.definition SET active = false WHERE version <> 1;
    UPDATE amends.definition SET active = true WHERE version = 1
"""
# When something of what is left is due next, and whether anything is left. A process that died is known for dead by its
# heartbeat; a stuck saga waits for nothing.
NEXT_MOMENT: Final = """
    SELECT (extract(epoch FROM min(at) FILTER (WHERE at > now())) * 1000)::bigint + 1, count(*) FROM (
        SELECT greatest(due_at, leased_until) AS at FROM amends.timer
        JOIN amends.saga ON saga.id = timer.saga_id AND saga.status <> 'stuck'
        UNION ALL SELECT due_at FROM amends.outbox WHERE owner IS NULL AND parked_at IS NULL
        UNION ALL SELECT coalesce(beat_at + interval '21 s', now())
        FROM amends.outbox LEFT JOIN amends.owner ON owner.id = outbox.owner WHERE owner IS NOT NULL
        UNION ALL SELECT probe_until FROM amends.breaker WHERE state = 'open' AND EXISTS (
            SELECT FROM amends.step JOIN amends.saga ON saga.id = step.saga_id AND saga.status <> 'stuck'
            WHERE step.queue = breaker.queue AND step.phase IN ('parked', 'awaiting', 'backoff')
        )
    ) AS moments
"""


class Tally(NullObserver):
    """What the engines told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def saga_started(self, name: str) -> None:
        self.counts["started"] += 1

    def saga_ended(self, name: str, status: str, seconds: float) -> None:
        self.counts[status] += 1

    def saga_rejected(self, name: str) -> None:
        self.counts["rejected"] += 1


class House:
    """What outlasts every run: the database and its clock."""

    def __init__(self, database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.monkeypatch = monkeypatch
        self.clock = Clock(database)
        self.catalog = Catalog(database)
        for saga in ALL:
            self.catalog.register(saga.definition, actor="test")
        self._numbers = count(1)

    def definition(self, name: str, version: int) -> Definition:
        """A registered definition."""
        found = self.catalog.get(name, version)
        assert found is not None
        return found

    def empty(self) -> None:
        """As on the first day."""
        with self.database.begin() as connection:
            connection.exec_driver_sql(EMPTY)
        self.clock.set_back()

    def post(self) -> Post:
        """A broker of its own."""
        return Post(f"m{next(self._numbers)}")

    def left(self) -> dict[str, list[str]]:
        """What is not over, for whoever looks into a run that does not end."""
        tables = ("outbox", "timer", "breaker", "saga WHERE ended_at IS NULL")
        with self.database.connect() as connection:
            return {
                name: [str(row) for row in connection.exec_driver_sql(f"SELECT * FROM amends.{name}").all()]
                for name in tables
            }

    def next_moment(self) -> int | None:
        """When something is due next, ms since 1970; now, if all that is left is due; None if nothing is left."""
        with self.database.connect() as connection:
            moment, left = connection.exec_driver_sql(NEXT_MOMENT).one()
        return (moment or self.clock.now_ms) if left else None


class Sweeper:
    """The coordinators' relay, stepped as they are."""

    def __init__(self, house: House, post: Post) -> None:
        store = OutboxStore(tables.outbox, tables.owner)
        own = receipts_queue(post.prefix, OWN_SERVICE)
        self.receipts = Receipts(
            house.database, post.broker, store, prefix=post.prefix, service=OWN_SERVICE, observer=Unobserved()
        )
        self._sweep = Sweep(
            house.database,
            post.broker,
            store,
            limits=SweepLimits(poll_s=1e-6, owners_every_s=1e-6),
            rules=OwnerRules(),
            observer=Unobserved(),
            receipts_to=own,
            on_late_confirm=None,
        )
        self._sweep.turn()  # The first only finds the broker.
        self._post = post

    def sweep(self) -> None:
        """Take over what nobody publishes, publish what is due, delete what was confirmed or receipted."""
        for _ in range(2):
            self._sweep.turn()
            self._post.collect()
        self._sweep.turn()
        self.receipts.turn(0)


def engines(house: House, post: Post, tally: Tally, many: int) -> list[Stepped]:
    """So many coordinators on the database, with one broker."""
    return [Stepped(house.database, post.broker, post.prefix, tally) for _ in range(many)]
