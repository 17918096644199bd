"""Locks the sagas of a batch and brings them to memory: from the shelf, or by one statement per kind of row (E1).

A saga without `each` comes with all its steps. Of one that fans out only those that the batch's events name are read,
and what the machine then asks for (`NotLoaded`): so an event costs the same at 3 and at 10,000 steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import sql
from amends.coordinator.engine.lives import Live
from amends.coordinator.engine.opening import Opening
from amends.coordinator.engine.placeholders import PLACEHOLDER, Placeholders
from amends.coordinator.engine.rows import read_saga, read_step
from amends.coordinator.engine.shelf import Shelf
from amends.coordinator.saga.draft import STUCK_COUNT
from amends.coordinator.saga.errors import NotLoaded
from amends.coordinator.saga.state import FORMAT, Saga, Status, Step
from amends.db.arrays import Plain

NO_PATHS: Final[frozenset[str]] = frozenset()


class Loading:
    """The sagas of one batch. Puts what it finds into `lives`; `newer` are those this release cannot read (E3)."""

    def __init__(
        self,
        connection: Connection,
        catalog: Catalog,
        shelf: Shelf,
        lives: dict[str, Live],
        placeholders: Placeholders,
        opening: Opening,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._shelf = shelf
        self._lives = lives
        self._placeholders = placeholders
        self._paths: defaultdict[str, set[str]] = defaultdict(set)
        self._open: set[str] = set()
        self._whole: list[str] = []
        self._asked: defaultdict[str, int] = defaultdict(int)
        self.newer: set[str] = set()
        self._locked = opening.locked
        self._heads = opening.heads

    def ask(self, ids: Iterable[str]) -> None:
        """Have these sagas locked, in id order, by a statement that travels with the next one."""
        wanted = sorted(ids)
        if wanted and not self._locked:
            self._locked = frozenset(wanted)
            self._heads = self._connection.exec_driver_sql(sql.LOCK_HEADS, {"ids": Plain(wanted)})

    def lock(self, ids: Iterable[str], named: Mapping[str, set[str]]) -> None:
        """Lock these sagas in id order, and have at hand what their events name: steps by saga and path."""
        wanted = sorted(ids)
        if not wanted:
            return
        missing = []
        for row in self._lock(wanted):
            saga_id = str(row.id)
            if row.status == PLACEHOLDER:
                self._placeholders.locked(saga_id, row.head)
                continue
            # Before anything else is read: what a newer format says, this release may not understand.
            if row.format > FORMAT:
                self.newer.add(saga_id)
                continue
            kept = self._shelf.get(saga_id)
            if kept is not None and kept.is_of(row):
                self._lives[saga_id] = Live(
                    definition=kept.definition,
                    stored=kept.saga,
                    now=kept.saga,
                    birth=kept.birth,
                    written=kept.saga,
                )
                self._name(kept.saga, named.get(saga_id, NO_PATHS))
            else:
                missing.append(saga_id)
        if missing:
            self._read(missing, named)
        self.fetch()

    def _lock(self, wanted: list[str]) -> list[Any]:
        heads = list(self._heads.all()) if self._heads is not None else []
        left = [saga_id for saga_id in wanted if saga_id not in self._locked]
        if left:
            heads += self._connection.exec_driver_sql(sql.LOCK_HEADS, {"ids": Plain(left)}).all()
        return heads

    def want(self, saga_id: str, need: NotLoaded, events: int) -> None:
        """The machine needs these for the first of so many events; those after it will want what is next to them."""
        # Twice as much each time it asks: it may be walking through many steps that keep it no moment.
        self._asked[saga_id] = max(events, 2 * self._asked[saga_id])
        saga = self._lives[saga_id].now
        self._name(saga, need.paths)
        if saga.backwards:
            self._name(saga, _ahead(need.paths, self._asked[saga_id]))
        if need.open_too:
            self._open.add(saga_id)

    def fetch(self) -> None:
        """Read everything that is wanted, with one statement."""
        if not self._paths and not self._open and not self._whole:
            return
        # A foreign reply may name anything, a NUL too, which PostgreSQL cannot hold: there is no such step.
        pairs = sorted(
            (saga_id, path) for saga_id, paths in self._paths.items() for path in paths if "\x00" not in path
        )
        wanted = {
            "whole": Plain(self._whole),
            "open": Plain(sorted(self._open)),
            "saga_id": Plain([saga_id for saga_id, _ in pairs]),
            "path": Plain([path for _, path in pairs]),
        }
        found: defaultdict[str, dict[str, Step]] = defaultdict(dict)
        for row in self._connection.exec_driver_sql(sql.LOAD_SOME_STEPS, wanted).all():
            saga_id, step = read_step(row)
            found[saga_id][step.path] = step
        for saga_id in {*self._whole, *self._open, *self._paths}:
            live = self._lives[saga_id]
            live.add_steps(
                found[saga_id],
                absent=self._paths.get(saga_id, NO_PATHS) - found[saga_id].keys(),
                has_open=saga_id in self._open,
            )
        self._whole, self._open = [], set()
        self._paths.clear()

    def _read(self, ids: list[str], named: Mapping[str, set[str]]) -> None:
        for row in self._connection.exec_driver_sql(sql.READ_SAGAS, {"ids": Plain(ids)}).all():
            saga, birth = read_saga(row)
            definition = None
            if not saga.status.ended:
                definition = self._catalog.find(self._connection, saga.name, saga.version)
                if definition is None:
                    self.newer.add(saga.id)
                    continue
                if definition.plan.fans_out:
                    saga = replace(saga, partial=True)
                    self._name(saga, named.get(saga.id, NO_PATHS))
                    if saga.status is Status.STUCK or STUCK_COUNT in saga.positions:
                        self._open.add(saga.id)  # Its row says which steps are stuck: all of them are needed.
                else:
                    self._whole.append(saga.id)
            self._lives[saga.id] = Live(
                definition=definition, stored=saga, now=saga, birth=birth, written=saga
            )

    def _name(self, saga: Saga, paths: Iterable[str]) -> None:
        if saga.partial:
            missing = {path for path in paths if path not in saga.steps and path not in saga.absent}
            if missing:
                self._paths[saga.id] |= missing


def _ahead(paths: Iterable[str], count: int) -> Iterator[str]:
    """The same steps of the items before these: a compensation goes through them from the last one down."""
    for path in paths:
        name, slash, number = path.rpartition("/")
        # An operator's act may name anything.
        if slash and number.isascii() and number.isdigit():
            for before in range(max(0, int(number) - count), int(number)):
                yield f"{name}/{before}"
