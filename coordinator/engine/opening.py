"""What a batch asks of the database first, in one round trip: the time, and what it needs to begin (E1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from amends.coordinator import rollout
from amends.coordinator.engine import sql
from amends.coordinator.engine.intake import (
    AnyItem,
    DeadLetterItem,
    ScheduleItem,
    SignalItem,
    SilentChildItem,
    StartItem,
    TellItem,
)
from amends.coordinator.engine.starts import names_of
from amends.db.arrays import Plain

# What names no saga that stands; and what inserts rows, which comes before any lock (decision 0004).
_SAGALESS = StartItem | DeadLetterItem | ScheduleItem | SilentChildItem
_INSERTING = StartItem | ScheduleItem | SignalItem | TellItem


class Asked(Protocol):
    """A statement's rows; they may still be on their way."""

    def all(self) -> Sequence[Any]:
        """Every row."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The time in ms since 1970; the locks of these sagas, and how the names of the starts stand, if asked already."""

    now_ms: int
    locked: frozenset[str] = frozenset()
    heads: Asked | None = None
    standings: Asked | None = None


def touched_by(items: Iterable[AnyItem]) -> set[str]:
    """The standing sagas that these items are about."""
    return {item.saga_id for item in items if not isinstance(item, _SAGALESS)}


def open_batch(connection: Connection, items: Sequence[AnyItem]) -> Opening:
    """Ask the time, and with it for locks, or for what stands about starts."""
    clock = connection.exec_driver_sql(sql.NOW_MS)
    starts = [item for item in items if isinstance(item, StartItem)]
    heads = standings = None
    ids: set[str] = set()
    if starts:
        standings = rollout.ask_standings(connection, names_of(starts))
    elif not any(isinstance(item, _INSERTING) for item in items):
        ids = touched_by(items)
        if ids:
            heads = connection.exec_driver_sql(sql.LOCK_HEADS, {"ids": Plain(sorted(ids))})
    return Opening(clock.scalar_one(), frozenset(ids), heads, standings)
