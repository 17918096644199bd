"""What cannot be processed is put aside, and its saga waits for an operator (E2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from sqlalchemy import Connection, Engine

from amends.coordinator.engine import posting, sql
from amends.coordinator.engine.batch import Outcome
from amends.coordinator.engine.intake import (
    ActItem,
    AdmitItem,
    AnyItem,
    BrokenItem,
    DeadLetterItem,
    ReportItem,
    ScheduleItem,
    SignalItem,
    StartItem,
    TellItem,
    TimerItem,
)
from amends.coordinator.engine.lives import Advancing
from amends.db.engines import transaction

log = logging.getLogger(__name__)

# The last resort, when the machine itself fails on this saga: its log ends before this, and says so by its gap.
STICK_SAGA = """
    UPDATE amends.saga SET status = 'stuck', error = %(error)s,
        stuck_steps = json_build_array(json_build_object('path', '', 'reason', %(error)s::text))
    WHERE id = %(id)s::uuid AND status IN ('running', 'compensating')
"""
DROP_TIMER = (
    "DELETE FROM amends.timer WHERE saga_id = %(id)s::uuid AND path = %(path)s AND token = %(token)s::uuid"
)

_RECEIPTED: Final = StartItem | SignalItem | TellItem | ReportItem | DeadLetterItem

Decide: TypeAlias = Callable[[Connection, list[AnyItem]], tuple[Outcome, Advancing]]


def quarantine(database: Engine, item: AnyItem, error: str, decide: Decide) -> tuple[Outcome, Advancing]:
    """Store the item with its error and make its saga stuck, in one transaction. A schedule tells it, and goes on.

    Raises: StoreUnavailable.
    """
    broken: list[AnyItem] = []
    if isinstance(item, ScheduleItem):
        broken = [replace(item, broken=f"internal error: {error}")]
    elif not isinstance(item, StartItem | ActItem | DeadLetterItem | BrokenItem):
        broken = [BrokenItem(saga_id=item.saga_id, reason=f"internal error: {error}")]
    try:
        with transaction(database) as connection:
            _keep(connection, item, error)
            outcome, advancing = decide(connection, broken)
    except Exception as again:
        if not broken or isinstance(item, ScheduleItem):
            raise
        log.exception("saga_stuck_by_force", extra={"saga_id": item.saga_id, "error": type(again).__name__})
        with transaction(database) as connection:
            _keep(connection, item, error)
            connection.exec_driver_sql(STICK_SAGA, {"id": item.saga_id, "error": broken[0].reason})  # type: ignore[union-attr]
            outcome, advancing = decide(connection, [])
    if isinstance(item, _RECEIPTED) and item.receipt is not None:
        outcome.receipts.append(posting.receipt(item.receipt, item.message_id, "quarantined"))
    return outcome, advancing


def _keep(connection: Connection, item: AnyItem, error: str) -> None:
    body = item.path.encode() if isinstance(item, TimerItem | AdmitItem) else item.body
    connection.exec_driver_sql(
        sql.QUARANTINE,
        {
            "saga_id": item.saga_id or None,
            "message_id": item.message_id or None,
            "type": item.type or type(item).__name__,
            "body": body,
            "error": error.replace("\x00", ""),
        },
    )
    if isinstance(item, TimerItem):
        connection.exec_driver_sql(DROP_TIMER, {"id": item.saga_id, "path": item.path, "token": item.token})
