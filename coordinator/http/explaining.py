"""Why a saga does not move, over HTTP."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter

from amends.coordinator import queries
from amends.coordinator.http.access import Reader
from amends.coordinator.http.door import Door, DoorState
from amends.coordinator.http.finding import there
from amends.coordinator.http.showing import counted
from amends.coordinator.http.views import DeadlineView, WaitView, WhyView, moment
from amends.coordinator.records import Detail, History
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.state import Op, Phase
from amends.coordinator.why.causes import Wait
from amends.coordinator.why.sagas import Explanation, explain, queues_to_ask

router = APIRouter(prefix="/sagas", tags=["sagas"])

STEPS_MAX: Final = 1_000
WAITS_MAX: Final = 100
LOG_MAX: Final = 2_000
_TRIED: Final = (Phase.AWAITING, Phase.BACKOFF)


@router.get("/{saga_id}/why")
async def why(saga_id: UUID, door: Door, _: Reader) -> WhyView:
    """What a saga waits for, since when, what comes next and when, and what an operator can do.

    The broker is asked how the queues concerned stand, for some seconds at most.
    """
    detail, loads = there(saga_id, await door.reading.run(queries.find_waiting, saga_id, steps_max=STEPS_MAX))
    broker = await door.looking.at(queues_to_ask(detail))
    catalog, header = door.engine.catalog, detail.header
    # The catalog may ask the database: not on the event loop.
    definition = await door.reading.run(lambda _: catalog.get(header.name, header.version))
    plan = definition.plan if definition is not None else None
    detail = await _counted(door, saga_id, detail, definition)
    return _shown(detail, explain(detail, loads, broker, plan))


async def _counted(door: DoorState, saga_id: UUID, detail: Detail, definition: Definition | None) -> Detail:
    """With which try of its op a step is at: where it is not its first op, only the log tells."""
    if not any(step.op != Op.DO and step.phase in _TRIED for step in detail.steps):
        return detail
    history = await door.reading.run(queries.history, saga_id, rows_max=LOG_MAX)
    if not isinstance(history, History) or len(history.log) >= LOG_MAX:
        return detail
    return await door.reading.run(lambda _: counted(detail, history, definition))


def _shown(detail: Detail, explanation: Explanation) -> WhyView:
    header, deadline = detail.header, explanation.deadline
    return WhyView(
        id=header.id,
        name=header.name,
        version=header.version,
        status=header.status,
        started_at=moment(header.started_ms),
        ended_at=header.ended_at,
        at=moment(detail.now_ms),
        waits=[_wait(wait) for wait in explanation.waits[:WAITS_MAX]],
        more=max(0, len(explanation.waits) - WAITS_MAX),
        deadline=DeadlineView(at=moment(deadline.at), then=deadline.then) if deadline is not None else None,
    )


def _wait(wait: Wait) -> WaitView:
    return WaitView(
        cause=wait.cause.value,
        path=wait.path,
        count=wait.count,
        last_path=wait.last or wait.path,
        text=wait.text,
        since=None if wait.since is None else moment(wait.since),
        next=wait.next,
        next_at=None if wait.next_at is None else moment(wait.next_at),
        acts=list(wait.acts),
    )
