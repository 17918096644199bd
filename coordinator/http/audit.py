"""The audit over HTTP: who did what, when and why."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query

from amends.coordinator.auditing import AuditFilter, AuditPosition, AuditRow, page_of_audit
from amends.coordinator.http.access import Reader
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import Door
from amends.coordinator.http.parameters import moment_or_none, plain
from amends.coordinator.http.views import AuditLine, AuditPage

router = APIRouter(tags=["audit"])

PAGE_MAX: Final = 200


@router.get("/audit")
async def list_audit(
    door: Door,
    _: Reader,
    saga: Annotated[UUID | None, Query(description="Done to this saga.")] = None,
    actor: Annotated[str | None, Query(max_length=120, description="By the token of this name.")] = None,
    act: Annotated[str | None, Query(max_length=32, description="`retry`, `schedule_add`, ...")] = None,
    since: Annotated[str | None, Query(description="Since: `1h` ago, or a time.")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
) -> AuditPage:
    """What was done to sagas, definitions, schedules and the outbox: by whom and why, the last first."""
    wanted = AuditFilter(
        saga_id=str(saga) if saga is not None else None,
        actor=plain("actor", actor),
        act=plain("act", act),
        since=moment_or_none("since", since),
    )
    # One more than asked for tells whether there is a next page.
    rows = await door.reading.run(page_of_audit, wanted, _position(cursor), limit + 1)
    shown = rows[:limit]
    return AuditPage(
        acts=[_shown(row) for row in shown], next=_cursor(shown[-1]) if len(rows) > limit else None
    )


def _shown(row: AuditRow) -> AuditLine:
    return AuditLine(
        at=row.at,
        actor=row.actor,
        act=row.act,
        saga_id=row.saga_id,
        path=row.path,
        reason=row.reason,
        details=dict(row.details) if row.details is not None else None,
    )


def _cursor(row: AuditRow) -> str:
    return base64.urlsafe_b64encode(
        json.dumps([row.at.astimezone(UTC).isoformat(), row.id]).encode()
    ).decode()


def _position(cursor: str | None) -> AuditPosition | None:
    if cursor is None:
        return None
    try:
        at, row_id = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if type(row_id) is int and 0 <= row_id < 2**63:
            return AuditPosition(datetime.fromisoformat(at), row_id)
    except (binascii.Error, ValueError, TypeError):
        pass
    raise Refusal(422, "invalid_request", "cursor: must be the `next` of a page of this list", "cursor")
