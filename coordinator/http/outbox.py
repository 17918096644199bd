"""The coordinator's outbox over HTTP: what waits, what is parked, send it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Engine

from amends.coordinator.auditing import note
from amends.coordinator.http.access import Operator, Reader
from amends.coordinator.http.door import Door
from amends.coordinator.http.requests import OutboxRetryBody
from amends.coordinator.http.views import OutboxView, ParkedView, RetriedView
from amends.coordinator.saga.json import Json
from amends.db.engines import transaction
from amends.db.tables import coordinator as tables
from amends.outbox.storage import OutboxStats, ParkedRow
from amends.outbox.store import OutboxStore

router = APIRouter(prefix="/outbox", tags=["outbox"])

ROWS_MAX: Final = 200


@router.get("")
async def show_outbox(
    door: Door,
    _: Reader,
    limit: Annotated[int, Query(ge=0, le=ROWS_MAX, description="How many parked rows to list.")] = 50,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="List parked rows with greater ids.")] = 0,
) -> OutboxView:
    """What waits in the outbox, and the rows that an operator must look at."""
    stats, rows = await door.reading.run(_look, limit, after)
    return OutboxView(
        pending=stats.pending,
        oldest_age_s=stats.oldest_age_s,
        awaiting_receipt=stats.awaiting_receipt,
        parked=stats.parked,
        parked_rows=[
            ParkedView(
                id=row.id,
                message_id=row.message_id,
                type=row.type,
                exchange=row.exchange,
                routing_key=row.routing_key,
                created_at=row.created_at,
                parked_at=row.parked_at,
                attempts=row.attempts,
                error=row.error,
            )
            for row in rows
        ],
    )


@router.post("/retry")
async def retry_outbox(body: OutboxRetryBody, door: Door, caller: Operator) -> RetriedView:
    """Send parked rows again: these, or all."""
    retried = await door.reading.run(_retry, body.ids, caller.name, body.reason)
    return RetriedView(retried=retried)


def _store() -> OutboxStore:
    return OutboxStore(tables.outbox, tables.owner)


def _look(database: Engine, rows_max: int, after: int) -> tuple[OutboxStats, list[ParkedRow]]:
    store = _store()
    with transaction(database) as connection:
        rows = store.parked(connection, rows_max, after) if rows_max else []
        return store.stats(connection), rows


def _retry(database: Engine, ids: Sequence[int] | None, actor: str, reason: str) -> int:
    """One transaction: the rows are due again, and the audit says who made them so and why."""
    with transaction(database) as connection:
        retried = _store().retry_parked(connection, ids)
        # No saga is named: parked rows may be of many.
        details: dict[str, Json] = {"ids": None if ids is None else list(ids), "retried": retried}
        note(connection, "outbox_retry", actor=actor, reason=reason, details=details)
        return retried
