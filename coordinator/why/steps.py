"""Why one step does not move: from what is stored about it, and what the broker says of its queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from amends.coordinator.records import OutboxEntry, QueueLoad, StepRow
from amends.coordinator.saga.state import Phase
from amends.coordinator.saga.walk import Plan
from amends.coordinator.why.causes import NOT_ASKED, Broker, Cause, Wait
from amends.coordinator.why.waits import waits
from amends.coordinator.why.words import (
    REASON,
    asked,
    attempt,
    lasting,
    participant,
    plural,
    retry,
    start_worker,
    tries,
)
from amends.outbox.ports import QueueState

# Timers are looked for ten times a second; what is later than this, nobody looks for.
LATE_MS: Final = 5_000

# What participants say when somebody else holds what they need; `amends.participants` says the first by itself.
_LOCK: Final = re.compile(r"\block(s|ed)?\b", re.I)
_SAGA: Final = re.compile(r"\bsaga ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a step stands in: its saga and definition, the moment, how full windows are, what the broker says."""

    saga_id: str
    now: int
    loads: Mapping[str, QueueLoad] = field(default_factory=dict)
    broker: Broker = NOT_ASKED
    plan: Plan | None = None


def wait_of(step: StepRow, around: Surroundings) -> Wait | None:
    """What this step waits for; None once it is settled. Of a step that is stuck only that it is."""
    match phase := Phase(step.phase):
        case Phase.PARKED:
            return _closed(step, around) or _window(step, around)
        case Phase.AWAITING:
            return _awaiting(step, around)
        case Phase.BACKOFF:
            return _closed(step, around) or _overdue(step, around) or _backoff(step, around)
        case Phase.WAITING:
            return _overdue(step, around) or waits(step, around.saga_id, around.plan)
        case Phase.STUCK:
            text = f"an operator is needed: {step.error}"
            return Wait(cause=Cause.STUCK, path=step.path, text=text)
        case Phase.SETTLED:
            return None
        case _:
            assert_never(phase)


def _awaiting(step: StepRow, around: Surroundings) -> Wait:
    entry = step.entry
    if entry is not None and entry.parked_ms is not None:
        return _parked_row(step, entry, entry.parked_ms)
    if around.broker.away:
        return _broker_away(step, around)
    if entry is not None and not (around.broker.in_process and _in_its_queue(entry)):
        return _closed(step, around) or _unsent(step, entry, around.now)
    return (
        _closed(step, around) or _no_worker(step, around) or _overdue(step, around) or _accepted(step, around)
    )


def _in_its_queue(entry: OutboxEntry) -> bool:
    """The broker in the process confirms when the worker has dealt with a message: until then the row stays, leased.

    Its `error` may be of an earlier try, from before there was a queue for it.
    """
    return entry.error is None or entry.leased


def _accepted(step: StepRow, around: Surroundings) -> Wait:
    """The broker has it; what else is known, its queue tells."""
    text = f"the answer to {attempt(step)} is awaited"
    cause = Cause.ANSWER
    state = around.broker.queues.get(step.queue)
    if state is not None and state.ready:
        cause = Cause.QUEUED
        text += (
            f": the broker has accepted it; in {step.queue} {plural(state.ready, 'message')} nobody has taken yet, "
            f"for {plural(state.consumers, 'consumer')}"
        )
    elif state is not None:
        text += f": the broker has accepted it, and nothing waits in {step.queue}, so a worker has taken it"
    return _timed(step, cause, text)


def _unsent(step: StepRow, entry: OutboxEntry, now: int) -> Wait:
    text = f"the answer to {attempt(step)} is awaited: the command is still in the outbox (row {entry.id})"
    if entry.returned_since_ms is not None:
        text += f"; for {lasting(now - entry.returned_since_ms)} the broker has had no queue for it"
    if entry.error:
        text += f"; the last try: {entry.error}"
    return Wait(
        cause=Cause.UNSENT,
        path=step.path,
        text=text,
        since=entry.created_ms,
        next="it is published; its timeout runs from the broker's confirm",
        next_at=entry.due_ms if entry.attempts else None,
    )


def _parked_row(step: StepRow, entry: OutboxEntry, parked_at: int) -> Wait:
    return Wait(
        cause=Cause.PARKED_ROW,
        path=step.path,
        text=f"{attempt(step)} is parked in the outbox (row {entry.id}): {entry.error}",
        since=parked_at,
        acts=(f"amends outbox retry --id {entry.id} {REASON}",),
    )


def _broker_away(step: StepRow, around: Surroundings) -> Wait:
    text = f"the broker is away ({around.broker.away}): "
    if step.entry is not None:
        text += f"{attempt(step)} waits in the outbox"
        then = "it is published once the broker is back"
    else:
        text += f"{attempt(step)} was accepted before; its answer cannot come in"
        then = "the answer once the broker is back, or another attempt"
    return Wait(cause=Cause.BROKER_AWAY, path=step.path, text=text, since=_since(step), next=then)


def _closed(step: StepRow, around: Surroundings) -> Wait | None:
    """Its queue's breaker is open: nothing is retried or given up, and a probe goes out now and then (M6)."""
    if step.breaker is None:
        return None
    silence = lasting(around.now - step.breaker.opened_ms)
    text = f"nobody has answered on {step.queue} for {silence} (its breaker is open)"
    missing = _missing(step, around)
    state = around.broker.queues.get(step.queue)
    if missing:
        text += f"; {missing}"
    elif state is not None:
        text += f"; {plural(state.consumers, 'worker')} consume{'s' if state.consumers == 1 else ''} it now"
    text += (
        f"; {asked(step)} is not sent yet" if step.phase == Phase.PARKED else f"; {asked(step)} waits for it"
    )
    return Wait(
        cause=Cause.NO_WORKER if missing else Cause.BREAKER,
        path=step.path,
        text=text,
        since=max(step.breaker.opened_ms, step.since_ms),
        next="a probe; any answer closes the breaker, and everything goes on",
        next_at=step.breaker.probe_ms,
        # Who consumes now answers the probe; there is nothing to start.
        acts=(start_worker(step),) if missing or state is None else (),
    )


def _no_worker(step: StepRow, around: Surroundings) -> Wait | None:
    missing = _missing(step, around)
    if missing is None:
        return None
    text = f"{missing}; {attempt(step)} was accepted by the broker and waits there"
    return _timed(step, Cause.NO_WORKER, text, start_worker(step))


def _missing(step: StepRow, around: Surroundings) -> str | None:
    """That nobody consumes a step's queue, if the broker was asked and says so."""
    if step.queue not in around.broker.queues:
        return None
    state: QueueState | None = around.broker.queues[step.queue]
    if state is None:
        return f"there is no queue {step.queue}"
    if state.consumers:
        return None
    return f"no worker consumes {step.queue} ({plural(state.ready, 'message')} in it)"


def _window(step: StepRow, around: Surroundings) -> Wait:
    load = around.loads.get(step.queue)
    full = f"the window of {step.queue} is full"
    if load is not None:
        full += f": {plural(load.out, 'command')} out, {load.parked:,} not sent yet"
    return Wait(
        cause=Cause.WINDOW,
        path=step.path,
        text=f"{asked(step)} is not sent yet: {full}",
        since=step.since_ms,
        next=f"it is sent as {participant(step)} answers others; sagas of each name take turns",
    )


def _backoff(step: StepRow, around: Surroundings) -> Wait:
    error = step.error or ""
    number = tries(step)
    after = f" after attempt {number}" if number is not None else ""
    text = f"{asked(step)} is tried again{after}: {error}"
    acts = [retry(around.saga_id, step)]
    cause = Cause.BACKOFF
    if _LOCK.search(error):
        cause = Cause.LOCK
        if (holder := _SAGA.search(error)) is not None:
            acts.insert(0, f"amends why {holder[1]}")
    return _timed(step, cause, text, *acts, then=f"attempt {number + 1}" if number else "another attempt")


def _overdue(step: StepRow, around: Surroundings) -> Wait | None:
    timer = step.timer
    if timer is None or timer.due_ms > around.now - LATE_MS:
        return None
    what = "timeout" if step.phase == Phase.AWAITING else "next attempt"
    text = f"the {what} of {asked(step)} was due {lasting(around.now - timer.due_ms)} ago, and "
    if timer.leased_until_ms is not None and timer.leased_until_ms > around.now:
        then, at = "if that coordinator is gone, another takes it", timer.leased_until_ms
        text += "the coordinator that has claimed it has not dealt with it"
    else:
        then, at = "a coordinator takes it, once one is running", None
        text += "no coordinator has taken it: is one running?"
    return Wait(
        cause=Cause.OVERDUE,
        path=step.path,
        text=text,
        since=timer.due_ms,
        next=then,
        next_at=at,
        acts=("amends coordinator",),
    )


def _timed(step: StepRow, cause: Cause, text: str, *acts: str, then: str | None = None) -> Wait:
    """A wait that the step's timer ends."""
    due = step.timer.due_ms if step.timer is not None else step.due_ms
    return Wait(
        cause=cause,
        path=step.path,
        text=text,
        since=_since(step),
        next=then or "its timeout, and another attempt unless its policy gives up",
        next_at=due,
        acts=acts,
    )


def _since(step: StepRow) -> int:
    """When the attempt was sent; of what was never sent, when it was first wanted."""
    return step.timer.sent_ms if step.timer is not None else step.since_ms
