"""What is due, over HTTP: list it, move it, put it off."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query

from amends.coordinator.http.access import Operator, Reader
from amends.coordinator.http.acting import act_on
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import Door
from amends.coordinator.http.parameters import labels_of, plain
from amends.coordinator.http.requests import CancelTimerBody, MoveTimerBody, duration_of
from amends.coordinator.http.views import ActView, TimerPage, TimerView
from amends.coordinator.saga.events import CancelTimer, MoveTimer
from amends.coordinator.timers import DueFilter, DuePosition, DueRow, page_of_timers

router = APIRouter(tags=["timers"])

PAGE_MAX: Final = 200


class Kind(StrEnum):
    """What is due."""

    DEADLINE = "deadline"
    TIMEOUT = "timeout"
    RETRY = "retry"
    WAIT = "wait"


@router.get("/timers")
async def list_timers(
    door: Door,
    _: Reader,
    saga: Annotated[UUID | None, Query(description="Of this saga only.")] = None,
    name: Annotated[str | None, Query(max_length=120, description="Of sagas of this name.")] = None,
    participant: Annotated[str | None, Query(max_length=120)] = None,
    label: Annotated[list[str] | None, Query(description="`name=value`; all of them.", max_length=20)] = None,
    kind: Annotated[Kind | None, Query(description="Only these.")] = None,
    within: Annotated[str | None, Query(description="Due within: `1h`.", max_length=32)] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=900)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
) -> TimerPage:
    """What is due when, the first due first: deadlines, timeouts of attempts, retries, waits."""
    wanted = DueFilter(
        saga_id=str(saga) if saga is not None else None,
        name=plain("name", name),
        participant=plain("participant", participant),
        labels=labels_of(label or ()),
        kind=kind.value if kind is not None else None,
        within=_ahead(within),
    )
    # One more than asked for tells whether there is a next page.
    rows = await door.reading.run(page_of_timers, wanted, _position(cursor), limit + 1)
    more = len(rows) > limit
    shown = rows[:limit]
    return TimerPage(timers=[_shown(row) for row in shown], next=_cursor(shown[-1]) if more else None)


@router.post("/sagas/{saga_id}/timers/move")
async def move_timer(saga_id: UUID, body: MoveTimerBody, door: Door, caller: Operator) -> ActView:
    """Let what is due for a step come at another time, or the saga's deadline. What is past is due now."""
    act = MoveTimer(actor=caller.name, reason=body.reason, path=body.path, due=body.due_ms())
    return await act_on(door, saga_id, act, body.in_ms())


@router.post("/sagas/{saga_id}/timers/cancel")
async def cancel_timer(saga_id: UUID, body: CancelTimerBody, door: Door, caller: Operator) -> ActView:
    """Put the saga's deadline off as far as it goes (366 days), or how long a step waits for a signal."""
    return await act_on(door, saga_id, CancelTimer(actor=caller.name, reason=body.reason, path=body.path))


def _shown(row: DueRow) -> TimerView:
    return TimerView(
        saga_id=row.saga_id,
        name=row.name,
        labels=dict(row.labels),
        status=row.status,
        path=row.path,
        kind=row.kind,
        participant=(row.queue.rpartition(".")[0] or None) if row.queue is not None else None,
        op=row.op,
        attempt=row.attempt,
        due_at=row.due_at,
        held_since=row.held_since,
        claimed_until=row.leased_until,
    )


def _ahead(within: str | None) -> timedelta | None:
    if within is None:
        return None
    try:
        return timedelta(milliseconds=duration_of(within))
    except ValueError as error:
        raise Refusal(422, "invalid_request", f"within: {error}", "within") from None


def _cursor(row: DueRow) -> str:
    text = json.dumps([row.due_at.astimezone(UTC).isoformat(), row.saga_id, row.path])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str | None) -> DuePosition | None:
    if cursor is None:
        return None
    try:
        at, saga_id, path = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        position = DuePosition(datetime.fromisoformat(at), str(UUID(saga_id)), path)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        position = None
    if position is None or not isinstance(position.path, str) or "\x00" in position.path:
        raise Refusal(422, "invalid_request", "cursor: must be the `next` of a page of this list", "cursor")
    return position
