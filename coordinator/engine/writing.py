"""Writes what a batch changed: one statement per kind of row (E1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from amends.coordinator.engine import sql
from amends.coordinator.engine.lives import Live
from amends.coordinator.engine.rows import Columns, columns_of, saga_columns, step_columns
from amends.coordinator.engine.timing import Timing
from amends.coordinator.saga.state import Phase, Status, Step, queue_of
from amends.db.arrays import Plain
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore
from amends.outbox.traces import trace_of
from amends.outbox.tracing import switch

OutboxIds = dict[tuple[str, str, int], tuple[int, int]]  # saga, path, attempt -> outbox row, timeout in ms


def write(
    connection: Connection,
    lives: list[Live],
    letters: list[Message],
    *,
    store: OutboxStore,
    owner: UUID,
    timing: Timing,
) -> list[OutboxRow]:
    """Write headers, steps, log, outbox and timers. Returns the outbox rows, to be published after the commit."""
    updated = [live.now for live in lives if live.now is not live.written]
    if updated:
        _run(connection, sql.UPDATE_SAGAS, saga_columns(sorted(updated, key=lambda saga: saga.id)))
    steps = [(live.now.id, step) for live in lives for _, step in live.changed_steps()]
    if steps:
        _run(connection, sql.SAVE_STEPS, step_columns(steps))
    entries = [(live.now.id, *entry) for live in lives for entry in live.log]
    if entries:
        _run(connection, sql.APPEND_LOG, columns_of(("saga_id", "seq", "at_ms", "event"), entries))
    rows, ids = _post(connection, lives, letters, store=store, owner=owner)
    _time(connection, lives, ids, timing)
    return rows


def _run(connection: Connection, statement: str, columns: Columns) -> None:
    connection.exec_driver_sql(statement, columns)


def _post(
    connection: Connection, lives: list[Live], letters: list[Message], *, store: OutboxStore, owner: UUID
) -> tuple[list[OutboxRow], OutboxIds]:
    sends = [(live.now.id, send, message) for live in lives for send, message in live.sends]
    events = [message for live in lives for message in live.events]
    messages = [message for _, _, message in sends] + events + letters
    if not messages:
        return [], {}
    if switch.tracing is not None:
        # What belongs to no trace, as receipts and dead letters do, begins none.
        messages = [switch.tracing.created(one) if trace_of(one.headers) else one for one in messages]
    row_ids = store.insert(connection, messages, owner=owner)
    created = datetime.now(UTC)
    rows = [OutboxRow(id_, message, created) for id_, message in zip(row_ids, messages, strict=True)]
    ids = {
        (saga_id, send.path, send.attempt): (row_id, send.timeout)
        for (saga_id, send, _), row_id in zip(sends, row_ids, strict=False)
    }
    return rows, ids


def _time(connection: Connection, lives: list[Live], ids: OutboxIds, timing: Timing) -> None:
    arm: list[tuple[Any, ...]] = []
    moved: list[tuple[str, str, int]] = []
    disarm: set[tuple[str, str]] = set(timing.done)
    ended = []
    for live in lives:
        saga = live.now
        if saga.status.ended:
            if live.stored is not None:
                ended.append(saga.id)
            continue
        if _deadline_to_arm(live, timing):
            arm.append((saga.id, "", 0, None, saga.deadline, 0, None))
        for before, step in live.changed_steps():
            if step.due is not None and _same_attempt(before, step, ids, saga.id):
                if before is not None and step.due != before.due:
                    moved.append((saga.id, step.path, step.due))
            elif step.due is not None:
                outbox_id, timeout = ids.get((saga.id, step.path, step.attempt), (None, 0))
                if step.phase is not Phase.AWAITING:
                    outbox_id, timeout = None, 0
                queue = queue_of(step.participant, step.op)
                arm.append((saga.id, step.path, step.attempt, queue, step.due, timeout, outbox_id))
            elif before is not None and before.due is not None:
                disarm.add((saga.id, step.path))
    disarm -= {(one[0], one[1]) for one in arm}
    if ended:
        connection.exec_driver_sql(sql.DISARM_SAGAS, {"ids": Plain(sorted(ended))})
    if disarm:
        _run(connection, sql.DISARM_TIMERS, columns_of(("saga_id", "path"), sorted(disarm)))
    if arm:
        names = ("saga_id", "path", "attempt", "queue", "due_ms", "timeout_ms", "outbox_id")
        arm.sort(key=lambda one: (one[0], one[1]))
        _run(connection, sql.ARM_TIMERS, columns_of(names, arm))
    armed = {(one[0], one[1]) for one in arm}
    armed |= {(one[0], one[1]) for one in moved}
    held = [one for one in timing.held if (one[0], one[1]) not in armed]
    for statement, rows in ((sql.MOVE_TIMERS, moved), (sql.HOLD_TIMERS, held)):
        if rows:
            _run(connection, statement, columns_of(("saga_id", "path", "due_ms"), sorted(rows)))


def _same_attempt(before: Step | None, step: Step, ids: OutboxIds, saga_id: str) -> bool:
    """Still the command that was sent before this batch: its timer stands, and knows that command (M4)."""
    return (
        before is not None
        and before.phase is step.phase is Phase.AWAITING
        and before.attempt == step.attempt
        and (saga_id, step.path, step.attempt) not in ids
    )


def _deadline_to_arm(live: Live, timing: Timing) -> bool:
    """A saga's deadline is armed at its start, when it is moved, and again when the saga leaves stuck."""
    before, saga = live.stored, live.now
    if saga.deadline is None:
        return False
    if before is None:
        return True
    # It may have become stuck, and left that again, in this very batch, its deadline coming in between.
    was_stuck = before.status is Status.STUCK or saga.id in timing.unheard
    return before.deadline != saga.deadline or (was_stuck and saga.status is not Status.STUCK)
