"""What cannot be processed is put aside, and its saga waits for an operator (E2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from sqlalchemy import Connection, Engine

from amends.coordinator.engine import posting, sql
from amends.coordinator.engine.batch import Outcome
from amends.coordinator.engine.contract import Verdict
from amends.coordinator.engine.heads import read_head
from amends.coordinator.engine.intake import (
    ActItem,
    AdmitItem,
    AnyItem,
    BrokenItem,
    DeadLetterItem,
    ReportItem,
    ScheduleItem,
    SignalItem,
    SilentChildItem,
    StartItem,
    TellItem,
    TimerItem,
)
from amends.coordinator.engine.lives import Advancing
from amends.coordinator.engine.reading import parent_of
from amends.coordinator.engine.rows import Birth, birth_columns
from amends.coordinator.engine.starts import Refusal, rejected
from amends.coordinator.engine.transient import is_transient
from amends.db.engines import transaction
from amends.db.errors import StoreUnavailable

log = logging.getLogger(__name__)

# The last resort, when the machine itself fails on this saga: its log ends before this, and says so by its gap.
STICK_SAGA = """
    UPDATE amends.saga SET status = 'stuck', error = %(error)s,
        stuck_steps = json_build_array(json_build_object('path', '', 'reason', %(error)s::text))
    WHERE id = %(id)s::uuid AND status IN ('running', 'compensating')
    RETURNING head::text
"""
DROP_TIMER = (
    "DELETE FROM amends.timer WHERE saga_id = %(id)s::uuid AND path = %(path)s AND token = %(token)s::uuid"
)

_RECEIPTED: Final = StartItem | SignalItem | TellItem | ReportItem | DeadLetterItem

Decide: TypeAlias = Callable[[Connection, list[AnyItem]], tuple[Outcome, Advancing]]


def quarantine(
    database: Engine, item: AnyItem, error: str, decide: Decide, take_back: Callable[[], None]
) -> tuple[Outcome, Advancing]:
    """Store the item with its error and make its saga stuck, in one transaction.

    A start is rejected, a schedule tells it and goes on. A parent that would wait for its child's answer hears of it.
    `take_back` undoes in memory what `decide` did in a transaction that failed.

    Raises: StoreUnavailable, CommitUnknown, a transient error: it may go better later, or has gone well already. Any
    other if not even the last resort is left.
    """
    reason = f"internal error: {error}".replace("\x00", "")
    instead = _instead(item, reason)
    try:
        with transaction(database) as connection:
            _keep(connection, item, error)
            outcome, advancing = decide(connection, instead)
    except Exception as again:
        # A second transaction after a COMMIT of unknown outcome could do all of it twice (O3).
        if isinstance(again, StoreUnavailable) or is_transient(again):
            raise
        if not instead or isinstance(item, ScheduleItem):
            raise
        take_back()
        log.exception("saga_stuck_by_force", extra={"saga_id": item.saga_id, "error": type(again).__name__})
        with transaction(database) as connection:
            _keep(connection, item, error)
            outcome, advancing = decide(connection, _by_force(connection, item, reason))
    if isinstance(item, _RECEIPTED) and item.receipt is not None:
        outcome.receipts.append(posting.receipt(item.receipt, item.message_id, "quarantined"))
    return outcome, advancing


def _instead(item: AnyItem, reason: str) -> list[AnyItem]:
    """What is to be decided in the place of an item that cannot be. A door has been told, and asks again."""
    match item:
        case ScheduleItem():
            return [replace(item, broken=reason)]
        case StartItem() if item.is_message:
            return [replace(item, broken=reason, receipt=None)]
        case StartItem() | ActItem() | DeadLetterItem() | BrokenItem() | SilentChildItem():
            return []
        case _:
            parent = item.parent if isinstance(item, TellItem) else None
            return [BrokenItem(saga_id=item.saga_id, reason=reason, parent=parent)]


def _by_force(connection: Connection, item: AnyItem, reason: str) -> list[AnyItem]:
    """Do without the machine: the saga is stuck, a start that is none yet rejected. What its parent is to hear."""
    parent = item.parent if isinstance(item, TellItem) else None
    stuck = connection.exec_driver_sql(STICK_SAGA, {"id": item.saga_id, "error": reason}).scalar()
    if stuck is not None:
        parent = read_head(stuck).get("parent") or parent
    elif isinstance(item, StartItem):
        now_ms = connection.exec_driver_sql(sql.NOW_MS).scalar_one()
        saga = rejected(item, Refusal(Verdict.REJECTED, reason), now_ms).saga
        # Without its input, which may be what nobody can store.
        birth = Birth(key=None, input_hash="", start_message=item.message_id)
        columns = birth_columns([(replace(saga, input=None), birth)])
        connection.exec_driver_sql(sql.INSERT_SAGAS, columns)
        if connection.exec_driver_sql(sql.SPENT_IDS, {"ids": [item.saga_id]}).first() is not None:
            connection.exec_driver_sql(sql.DELETE_SAGAS, {"ids": [item.saga_id]})
    if isinstance(item, StartItem) and item.start.parent is not None:
        parent = parent_of(item.start.parent)
    return [] if parent is None else [SilentChildItem(saga_id=item.saga_id, parent=parent, reason=reason)]


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
