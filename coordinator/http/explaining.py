"""Why a saga does not move, over HTTP."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from fastapi import APIRouter

from amends.coordinator import queries
from amends.coordinator.http.access import Reader
from amends.coordinator.http.door import Door
from amends.coordinator.http.finding import there
from amends.coordinator.http.views import DeadlineView, WaitView, WhyView, moment
from amends.coordinator.records import Detail
from amends.coordinator.why.causes import Wait
from amends.coordinator.why.sagas import Explanation, explain, queues_to_ask

router = APIRouter(prefix="/sagas", tags=["sagas"])

STEPS_MAX: Final = 1_000
WAITS_MAX: Final = 100


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
    return _shown(detail, explain(detail, loads, broker, plan))


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
        text=wait.text,
        since=None if wait.since is None else moment(wait.since),
        next=wait.next,
        next_at=None if wait.next_at is None else moment(wait.next_at),
        acts=list(wait.acts),
    )
