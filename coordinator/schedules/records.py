"""Schedules as they are asked for and as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from amends.coordinator.saga.json import Json
from amends.coordinator.schedules.missed import Missed
from amends.outbox.wire import Start

# The namespace of the ids of sagas that a schedule starts (S4). Never to change: an instant would fire twice.
SCHEDULED_IDS: Final = UUID("0d2b6c1e-7f4d-5a58-8f0c-3b9a5e61c7d4")
# The labels by which a schedule's sagas are found, and by which a participant learns the instant it works for.
LABEL: Final = "schedule"
DUE_LABEL: Final = "due"
LABELS_TAKEN: Final = (LABEL, DUE_LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A schedule that somebody asks for. Without `version`, each run takes the version that is active then."""

    name: str
    cron: str
    timezone: str
    saga: str
    version: int | None
    input: Json
    labels: Mapping[str, str]
    missed: Missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as it stands. Counts are instants: fired, missed, and failed since it was added."""

    name: str
    cron: str
    timezone: str
    saga: str
    version: int | None
    input: Json
    labels: Mapping[str, str]
    missed: Missed
    created_at: datetime
    created_by: str
    paused_at: datetime | None
    next_due: datetime
    last_due: datetime | None
    last_saga: UUID | None
    last_error: str | None
    failed_at: datetime | None
    fired_runs: int
    missed_runs: int
    failed_runs: int


def scheduled_saga_id(schedule: str, due_ms: int) -> str:
    """The id of the saga that a schedule starts at an instant: UUIDv5 of its name, a line feed and the instant (S4).

    It follows from the name, so a schedule that is removed and added again never fires an instant twice.
    """
    return str(uuid5(SCHEDULED_IDS, f"{schedule}\n{due_ms}"))


def start_at(
    *,
    schedule: str,
    saga: str,
    version: int | None,
    input_json: str,
    labels: Mapping[str, str],
    due: datetime,
    now_ms: int,
) -> Start:
    """The start that a schedule makes at instant `due`."""
    due_ms = round(due.timestamp() * 1000)
    return Start(
        saga=scheduled_saga_id(schedule, due_ms),
        name=saga,
        input=msgspec.Raw(input_json.encode()),
        version=version,
        labels={**labels, LABEL: schedule, DUE_LABEL: due.strftime("%Y-%m-%dT%H:%M:%SZ")},
        sent_at=now_ms,
    )
