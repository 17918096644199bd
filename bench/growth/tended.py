"""A contestant whose database holds more than what it runs now: only sagas of this measurement are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from amends.coordinator.catalog import Catalog
from amends.db.engines import open_engine, transaction
from amends.demo.replay import compare, read_logs, read_sagas
from bench.contestants.amends import Amends
from bench.contestants.databases import sqlalchemy_url

NOW: Final = "SELECT clock_timestamp()"
ENDED: Final = (
    "SELECT count(*) FROM amends.saga WHERE name = %s AND status = 'completed' AND created_at >= %s"
)
OURS: Final = "SELECT id::text, status FROM amends.saga WHERE created_at >= %s"
TIMERS: Final = "SELECT count(*) FROM amends.timer"
UNSENT: Final = "SELECT count(*) FROM amends.outbox"
DONE: Final = """
    SELECT split_part(queue, '.', 1), count(*) FROM amends.step WHERE saga_id = ANY(%s::uuid[]) AND did = 'done'
    GROUP BY 1
"""
EFFECTS: Final = "SELECT count(*), count(DISTINCT (saga_id, number)) FROM effects WHERE at >= %s"


class Tended:
    """amends, with questions that cost the same however many sagas have ended before. `name`: of the sagas."""

    def __init__(self, amends: Amends, name: str) -> None:
        self.name = amends.name
        self.placed = 0
        self._amends = amends
        self._saga = name
        self._connection = psycopg.connect(amends.databases.coordinator, autocommit=True)
        self._born = self._since = self._now()

    @property
    def parts(self) -> Mapping[str, int]:
        return self._amends.parts

    def begin(self) -> None:
        """From now on count anew what ends."""
        self._since = self._now()

    def place(self, numbers: Sequence[str]) -> None:
        self._amends.place(numbers)
        self.placed += len(numbers)

    def turn(self) -> None:
        self._amends.turn()

    def ended(self) -> int:
        """How many sagas of the name have ended that started since `begin`."""
        count: int = self._one(ENDED, self._saga, self._since)
        return count

    def findings(self) -> list[str]:
        """Of the sagas placed here: completed, their logs replay to what is stored, an effect a step; nothing left."""
        ours = self._connection.execute(OURS, (self._born,)).fetchall()
        found = [f"saga {id_} is {status}" for id_, status in ours if status != "completed"]
        if len(ours) != self.placed:
            found.append(f"{len(ours)} sagas of {self.placed}")
        for what, statement in (("timers", TIMERS), ("outbox rows", UNSENT)):
            if left := self._one(statement):
                found.append(f"{left} {what} are left")
        ids = [id_ for id_, _ in ours]
        return (found or self._effects(ids) + self._replayed(ids))[:5]

    def close(self) -> None:
        """Leave the database."""
        self._connection.close()

    def _effects(self, ids: Sequence[str]) -> list[str]:
        found = []
        for participant, done in self._connection.execute(DONE, (list(ids),)).fetchall():
            with psycopg.connect(self._amends.databases.participants[participant]) as connection:
                effects = connection.execute(EFFECTS, (self._born,)).fetchone()
            if effects != (done, done):
                found.append(f"{participant}: {effects} effects, and different ones, of {done} steps")
        return found

    def _replayed(self, ids: Sequence[str]) -> list[str]:
        engine = open_engine(sqlalchemy_url(self._amends.databases.coordinator))
        try:
            with transaction(engine) as connection:
                logs = read_logs(connection, ids)
                catalog = Catalog(engine)
                return [
                    finding
                    for saga in read_sagas(connection, ids)
                    for finding in compare(connection, catalog, saga, logs.get(saga.id, []))
                ]
        finally:
            engine.dispose()

    def _now(self) -> datetime:
        now: datetime = self._one(NOW)
        return now

    def _one(self, statement: str, *values: object) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        assert row is not None
        return row[0]
