"""What the door shows. Times are ISO 8601 in UTC, durations seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel


class StartedView(BaseModel):
    """What became of a start. `created` is false when the same start stood already."""

    id: str
    status: str
    created: bool


class ActView(BaseModel):
    """The saga after an act."""

    id: str
    status: str | None


class ActedView(BaseModel):
    """One of many sagas after an act, or before a dry run's. `reason` tells why it was refused.

    `unknown`: there was no answer for this saga, and `reason` tells why; look, or ask again.
    """

    id: str
    name: str
    outcome: Literal["applied", "refused", "unknown", "would"]
    status: str | None
    reason: str


class ActedPage(BaseModel):
    """Some of many sagas; `next` is the cursor of the others, null if there are none."""

    sagas: list[ActedView]
    next: str | None


class SignalView(BaseModel):
    """What became of a signal. `outcome`: `accepted`, `kept` (the saga has not started yet) or `duplicate`."""

    id: str
    name: str
    outcome: str
    status: str | None


class StuckView(BaseModel):
    """A step that needs an operator."""

    path: str
    reason: str


class StepView(BaseModel):
    """One step instance. `waits_for` says in words why it does not move; null once it is settled."""

    path: str
    participant: str
    op: str
    phase: str
    did: str
    round: int
    attempt: int
    due_at: datetime | None
    error: str | None
    override: str | None
    waits_for: str | None
    result: Any = None


class SagaLine(BaseModel):
    """One saga, as lists show it."""

    id: str
    name: str
    version: int
    status: str
    key: str | None
    labels: dict[str, str]
    parent: str | None
    started_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None
    error: str | None
    stuck: list[StuckView]


class SagaView(SagaLine):
    """One saga in full. `input` and results only when asked for with `payloads=true`.

    `input_hash` lets a client tell whether the saga of its key has its input.
    """

    input_hash: str
    overrides: list[str]
    steps: list[StepView]
    waits_for: str | None
    input: Any = None


class SagaPage(BaseModel):
    """Some sagas, newest first. `next` is the cursor of the next page; null at the end."""

    sagas: list[SagaLine]
    next: str | None


class EntryView(BaseModel):
    """One line of a timeline. `duration` is seconds since the command was sent.

    `next_at` is when the next attempt was due after one in vain, when a wait is over, or what a timer was moved to.
    `attempt` rises over all ops of a step; `tries` is which try of its op it was, null if that is not known.
    `args` are what an `edit` gave, in place of `old_args`.
    """

    at: datetime
    what: str
    path: str | None = None
    op: str | None = None
    attempt: int | None = None
    tries: int | None = None
    args: Any = None
    old_args: Any = None
    duration: float | None = None
    outcome: str | None = None
    error: str | None = None
    actor: str | None = None
    next_at: datetime | None = None


class TimelineView(BaseModel):
    """What happened to a saga, oldest first. `truncated`: there was more than is shown."""

    id: str
    name: str
    version: int
    status: str
    entries: list[EntryView]
    waits_for: str | None
    truncated: bool


class WaitView(BaseModel):
    """One thing a saga waits for. `cause` is a constant word, `text` says it to people.

    `path` is empty where it is the whole saga. `next` is what comes by itself, at `next_at` where that is known; null
    if nothing does. `acts` are what an operator can do, as commands. `count` steps wait alike, from `path` to
    `last_path`; the text is that of the first.
    """

    cause: str
    path: str
    count: int
    last_path: str
    text: str
    since: datetime | None
    next: str | None
    next_at: datetime | None
    acts: list[str]


class DeadlineView(BaseModel):
    """When a saga's deadline comes, and what it does then."""

    at: datetime
    then: str


class WhyView(BaseModel):
    """Why a saga does not move: nothing waits once it has ended. There are `more` waits beside those that are listed.

    `deadline` is null where none applies any more.
    """

    id: str
    name: str
    version: int
    status: str
    started_at: datetime
    ended_at: datetime | None
    at: datetime
    waits: list[WaitView]
    more: int
    deadline: DeadlineView | None


class AuditLine(BaseModel):
    """One act: who did it, when, to what and why. `saga_id` and `path` are null where it was not one saga or step.

    `details` are what the act brought: new args, a forced result, a deadline in ms since 1970, a schedule's name.
    """

    at: datetime
    actor: str
    act: str
    saga_id: str | None
    path: str | None
    reason: str
    details: dict[str, Any] | None


class AuditPage(BaseModel):
    """Some of the audit, the last act first. `next` is the cursor of the next page; null at the end."""

    acts: list[AuditLine]
    next: str | None


class TimerView(BaseModel):
    """One thing that is due. `kind`: deadline, timeout (of an attempt), retry (after a failure) or wait.

    `path` is empty for a saga's deadline. `held_since`: its queue's breaker is open, or its command is still in the
    outbox, and it is re-armed without counting. `claimed_until`: a coordinator is dealing with it.
    """

    saga_id: str
    name: str
    labels: dict[str, str]
    status: str
    path: str
    kind: str
    participant: str | None
    op: str | None
    attempt: int
    due_at: datetime
    held_since: datetime | None
    claimed_until: datetime | None


class TimerPage(BaseModel):
    """Some timers, the first due first. `next` is the cursor of the next page; null at the end."""

    timers: list[TimerView]
    next: str | None


class ParkedView(BaseModel):
    """An outbox row that needs an operator: its own fault keeps it from being sent."""

    id: int
    message_id: str
    type: str
    exchange: str
    routing_key: str
    created_at: datetime
    parked_at: datetime
    attempts: int
    error: str


class OutboxView(BaseModel):
    """The coordinator's outbox. `awaiting_receipt` rows are sent and kept until their receipt."""

    pending: int
    oldest_age_s: float
    awaiting_receipt: int
    parked: int
    parked_rows: list[ParkedView]


class RetriedView(BaseModel):
    """How many parked rows are due again."""

    retried: int


class ScheduleLine(BaseModel):
    """One schedule. `next_due_at` is null while it is paused; `error` is why its last run failed, until one succeeds.

    Runs are instants at which it was due: fired, missed (they passed without a saga, by its policy), failed.
    """

    name: str
    cron: str
    timezone: str
    saga: str
    version: int | None
    labels: dict[str, str]
    missed: str
    created_at: datetime
    created_by: str
    paused_at: datetime | None
    next_due_at: datetime | None
    last_due_at: datetime | None
    last_saga: str | None
    error: str | None
    failed_at: datetime | None
    fired_runs: int
    missed_runs: int
    failed_runs: int


class ScheduleChanged(ScheduleLine):
    """One schedule after it was added, paused or resumed. `changed` is false when it stood, or was so, already."""

    changed: bool


class ScheduleView(ScheduleLine):
    """One schedule in full. `upcoming` are its next instants; `input` only when asked for with `payloads=true`."""

    upcoming: list[datetime]
    input: Any = None


class ScheduleList(BaseModel):
    """Every schedule, by name."""

    schedules: list[ScheduleLine]


class HealthView(BaseModel):
    """How this process is."""

    status: str
    loop_age_s: float


class ReadyView(BaseModel):
    """Whether this process can serve. The broker may be away: what is accepted waits in the outbox."""

    status: str
    database: str
    broker: str


def moment(ms: int) -> datetime:
    """A time in milliseconds since 1970, as people read it."""
    return datetime.fromtimestamp(ms / 1000, UTC)
