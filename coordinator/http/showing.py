"""From what is stored to what is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from amends.coordinator import timeline
from amends.coordinator.engine.journal import decode_event
from amends.coordinator.http.views import (
    EntryView,
    SagaLine,
    SagaView,
    StepView,
    StuckView,
    TimelineView,
    moment,
)
from amends.coordinator.records import Detail, Header, History, LogRow, StepRow
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.events import Event, Started
from amends.coordinator.saga.state import FORMAT, Decision, Parent, Phase, Saga, Status
from amends.coordinator.saga.walk import Plan
from amends.coordinator.why.sagas import in_words, summary


def shown_line(header: Header) -> SagaLine:
    """One saga, as lists show it."""
    return SagaLine(
        id=header.id,
        name=header.name,
        version=header.version,
        status=header.status,
        key=header.key,
        labels=dict(header.labels),
        parent=header.parent,
        started_at=moment(header.started_ms),
        ended_at=header.ended_at,
        deadline_at=None if header.held else _maybe(header.deadline_ms),
        error=header.error,
        stuck=[StuckView(path=one["path"], reason=one["reason"]) for one in header.stuck_steps or ()],
    )


def shown_saga(detail: Detail, plan: Plan | None, *, payloads: bool) -> SagaView:
    """One saga in full; its input and results only with `payloads`. Its definition's `plan` tells what it waits for."""
    return SagaView(
        **shown_line(detail.header).model_dump(),
        input_hash=detail.header.input_hash,
        overrides=list(detail.overrides),
        steps=[_step(step, detail, plan, payloads=payloads) for step in detail.steps],
        waits_for=summary(detail, plan),
        input=json.loads(detail.input) if payloads else None,
    )


def shown_timeline(history: History, definition: Definition | None, *, rows_max: int) -> TimelineView:
    """A saga's course; only what the log itself says, where this release cannot replay it.

    Memory is that of the log and of its lines, however many steps the saga has at each of them.
    """
    header = history.detail.header
    return TimelineView(
        id=header.id,
        name=header.name,
        version=header.version,
        status=header.status,
        entries=[_entry(entry) for entry in timeline.entries(_course(history, definition))],
        waits_for=summary(history.detail, definition.plan if definition is not None else None),
        truncated=len(history.log) >= rows_max,
    )


def counted(detail: Detail, history: History, definition: Definition | None) -> Detail:
    """The saga, each step with which try of its op it is at; as far as this release can replay its log."""
    tries = timeline.tries_of(_course(history, definition))
    steps = [replace(step, tries=tries.get((step.path, step.attempt))) for step in detail.steps]
    return replace(detail, steps=steps)


def needs_plan(detail: Detail) -> bool:
    """Whether it takes the definition to tell what a step waits for."""
    return detail.header.ended_at is None and any(step.phase == Phase.WAITING for step in detail.steps)


def _course(history: History, definition: Definition | None) -> Iterator[timeline.Happened]:
    header = history.detail.header
    told = [(row.at_ms, _event(row)) for row in history.log]
    log = [(at, event) for at, event in told if not isinstance(event, str)]
    if definition is None or not log or len(log) < len(told) or header.format > FORMAT:
        yield from (timeline.Happened(at, event) for at, event in told)
        return
    begun = _begun(history.detail)
    if isinstance(log[0][1], Started):
        begun = replace(begun, parent=log[0][1].parent, decision=log[0][1].decision)
    first = timeline.beginning(definition, begun)
    yield from timeline.replay(definition, first, log)


def _event(row: LogRow) -> Event | str:
    try:
        return decode_event(dict(row.event))
    except (KeyError, ValueError):
        return str(row.event.get("event"))  # Of a newer release: its name is all that is known of it.


def _begun(detail: Detail) -> Saga:
    """What of the saga was so from its beginning."""
    header = detail.header
    return Saga(
        id=header.id,
        name=header.name,
        version=header.version,
        status=Status.RUNNING,
        input=json.loads(detail.input),
        labels=header.labels,
        started=header.started_ms,
        clock=header.started_ms,
        deadline=header.deadline_ms,
        parent=Parent(**detail.parent) if detail.parent is not None else None,
        decision=Decision(detail.decision),
    )


def _step(step: StepRow, detail: Detail, plan: Plan | None, *, payloads: bool) -> StepView:
    return StepView(
        path=step.path,
        participant=step.queue.rpartition(".")[0],
        op=step.op,
        phase=step.phase,
        did=step.did,
        round=step.round,
        attempt=step.attempt,
        due_at=_maybe(step.due_ms),
        error=step.error,
        override=step.override,
        waits_for=in_words(step, detail, plan),
        result=json.loads(step.result) if payloads and step.result is not None else None,
    )


def _entry(entry: timeline.Entry) -> EntryView:
    return EntryView(
        at=moment(entry.at),
        what=entry.what,
        path=entry.path,
        op=entry.op,
        attempt=entry.attempt,
        tries=entry.tries,
        args=entry.args,
        old_args=entry.old_args,
        duration=entry.duration / 1000 if entry.duration is not None else None,
        outcome=entry.outcome,
        error=entry.error,
        actor=entry.actor,
        next_at=_maybe(entry.next_at),
    )


def _maybe(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)
