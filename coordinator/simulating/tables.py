"""The databases of the simulator: tables as dictionaries, changed in transactions that happen as a whole or not at all.

A coordinator's database holds the rows of `amends.db.tables.coordinator`; `statements.py` says what each of the
engine's statements does to them. A transaction runs without interruption: the row locks of the real one make any two
that touch the same rows come one after the other, and what is read before a transaction begins may be stale.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple, TypeVar

from amends.coordinator.simulating.outboxes import OutboxTable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_NOTHING: Final = object()


class Journal:
    """What a transaction has changed so far, so that it can be taken back."""

    def __init__(self) -> None:
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Insert or replace a row."""
        self._undo.append((table, key, table.get(key, _NOTHING)))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> bool:
        """Delete a row; False if there was none."""
        if key not in table:
            return False
        self._undo.append((table, key, table.pop(key)))
        return True

    def take_back(self) -> None:
        """Roll back."""
        for table, key, old in reversed(self._undo):
            if old is _NOTHING:
                del table[key]
            else:
                table[key] = old
        self._undo.clear()

    def keep(self) -> None:
        """Commit."""
        self._undo.clear()


class SagaRow(NamedTuple):
    """A row of `amends.saga`."""

    id: str
    name: str
    version: int
    format: int
    status: str
    backwards: bool
    input: str
    labels: str
    input_hash: str
    start_message: str
    started_ms: int
    clock_ms: int
    deadline_ms: int | None
    seq: int
    head: str
    created_ms: int
    stuck_steps: str | None = None
    ended_ms: int | None = None
    parent_id: str | None = None


class TimerRow(NamedTuple):
    """A row of `amends.timer`."""

    attempt: int
    queue: str | None
    due_ms: int
    timeout_ms: int
    sent_ms: int
    outbox_id: int | None
    held_since: int | None = None
    token: object = None
    leased_until: int | None = None


class BreakerTable(NamedTuple):
    """A row of `amends.breaker`."""

    open: bool
    closed_ms: int
    probes: int
    probe_until: int


class ScheduleRow(NamedTuple):
    """A row of `amends.schedule`."""

    id: int
    name: str
    cron: str
    saga: str
    missed: str
    next_ms: int
    paused: bool = False
    fired: int = 0
    missed_runs: int = 0
    failed_runs: int = 0


class Had(NamedTuple):
    """A timer that a batch holds a claim of: when it was due, when it looked, whether its command was unsent."""

    key: tuple[str, str]
    due_ms: int
    now_ms: int
    unsent: bool


class Entry(NamedTuple):
    """A row of `amends.saga_log`."""

    at_ms: int
    event: str


class Tables:
    """A coordinators' database. `now` is its clock, in ms since 1970. `appended` are the log entries of the
    transaction under way, `had` the timers it holds a claim of: when they were due, and when it looked.
    """

    def __init__(self, now: Callable[[], int], taken: Callable[[str], bool]) -> None:
        self.now = now
        self.journal = Journal()
        self.sagas: dict[str, SagaRow] = {}
        self.steps: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.log: dict[str, dict[int, Entry]] = {}
        self.timers: dict[tuple[str, str], TimerRow] = {}
        self.spent: dict[str, str] = {}
        self.refused: dict[tuple[str, str], str] = {}
        self.unknown: dict[tuple[str, str], int] = {}
        self.breakers: dict[str, BreakerTable] = {}
        self.schedules: dict[int, ScheduleRow] = {}
        self.active: dict[str, int] = {}
        self.bodies: dict[tuple[str, int], str] = {}
        self.audit: dict[int, str] = {}
        self.outbox = OutboxTable(now, self.journal, taken)
        self.appended: list[tuple[str, int, Entry]] = []
        self.had: list[Had] = []

    def delete_saga(self, saga_id: str) -> None:
        """A saga's row goes, with all that belongs to it."""
        journal = self.journal
        journal.drop(self.sagas, saga_id)
        journal.drop(self.steps, saga_id)
        journal.drop(self.log, saga_id)
        for key in [key for key in self.timers if key[0] == saga_id]:
            journal.drop(self.timers, key)
