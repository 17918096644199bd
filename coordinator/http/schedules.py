"""Schedules over HTTP: add, look, pause, resume, remove."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from amends.coordinator.engine.contract import Verdict
from amends.coordinator.http.access import Applier, Operator, Reader
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import Door
from amends.coordinator.http.requests import SCHEDULE_NAME, ActBody, ScheduleBody
from amends.coordinator.http.views import ScheduleChanged, ScheduleLine, ScheduleList, ScheduleView
from amends.coordinator.schedules import standing
from amends.coordinator.schedules.missed import Missed
from amends.coordinator.schedules.records import Schedule, Wanted

router = APIRouter(prefix="/schedules", tags=["schedules"])

UPCOMING: Final = 5

Name = Annotated[str, Path(max_length=120, pattern=SCHEDULE_NAME)]


@router.post(
    "", status_code=201, responses={200: {"model": ScheduleLine, "description": "It stood already."}}
)
async def add_schedule(
    body: ScheduleBody, response: Response, door: Door, caller: Applier
) -> ScheduleChanged:
    """Add a schedule. The same again is fine; other content under a standing name is 409."""
    wanted = Wanted(
        name=body.name,
        cron=body.cron,
        timezone=body.timezone,
        saga=body.saga,
        version=body.version,
        input=body.input,
        labels=dict(body.labels),
        missed=Missed(body.missed),
    )
    catalog = door.engine.catalog
    added = await door.reading.run(standing.add, catalog, wanted, actor=caller.name, reason=body.reason)
    if isinstance(added, standing.Unstartable):
        raise _refused(body, added)
    response.status_code = 201 if added else 200
    response.headers["Location"] = f"/schedules/{body.name}"
    return _changed(await door.reading.run(standing.find, body.name), added)


@router.get("")
async def list_schedules(door: Door, _: Reader) -> ScheduleList:
    """Every schedule, by name."""
    rows = await door.reading.run(standing.every)
    return ScheduleList(schedules=[_line(row) for row in rows])


@router.get("/{name}")
async def get_schedule(
    name: Name,
    door: Door,
    _: Reader,
    payloads: Annotated[bool, Query(description="With the input of the sagas it starts.")] = False,
) -> ScheduleView:
    """One schedule, with the next instants at which it is due."""
    found = await door.reading.run(standing.find, name)
    return ScheduleView(
        **_line(found).model_dump(),
        upcoming=standing.upcoming(found, UPCOMING),
        input=found.input if payloads else None,
    )


@router.post("/{name}/pause")
async def pause_schedule(name: Name, body: ActBody, door: Door, caller: Operator) -> ScheduleChanged:
    """Let it fire no more: once this is answered, nothing is fired until it is resumed."""
    row, changed = await door.reading.run(standing.pause, name, actor=caller.name, reason=body.reason)
    return _changed(row, changed)


@router.post("/{name}/resume")
async def resume_schedule(name: Name, body: ActBody, door: Door, caller: Operator) -> ScheduleChanged:
    """Let it fire again, from its next instant on: what passed while it was paused is not missed."""
    row, changed = await door.reading.run(standing.resume, name, actor=caller.name, reason=body.reason)
    return _changed(row, changed)


@router.post("/{name}/remove")
async def remove_schedule(name: Name, body: ActBody, door: Door, caller: Applier) -> ScheduleLine:
    """Remove it; the answer is what it was. The sagas it started go on."""
    return _line(await door.reading.run(standing.remove, name, actor=caller.name, reason=body.reason))


def _changed(row: Schedule, changed: bool) -> ScheduleChanged:
    return ScheduleChanged(**_line(row).model_dump(), changed=changed)


def _line(row: Schedule) -> ScheduleLine:
    return ScheduleLine(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        saga=row.saga,
        version=row.version,
        labels=dict(row.labels),
        missed=row.missed.value,
        created_at=row.created_at,
        created_by=row.created_by,
        paused_at=row.paused_at,
        next_due_at=None if row.paused_at is not None else row.next_due,
        last_due_at=row.last_due,
        last_saga=str(row.last_saga) if row.last_saga is not None else None,
        error=row.last_error,
        failed_at=row.failed_at,
        fired_runs=row.fired_runs,
        missed_runs=row.missed_runs,
        failed_runs=row.failed_runs,
    )


def _refused(body: ScheduleBody, unstartable: standing.Unstartable) -> Refusal:
    refusal = unstartable.refusal
    if refusal.verdict is Verdict.UNKNOWN_DEFINITION:
        field = "saga" if body.version is None else "version"
        return Refusal(409, "unknown_definition", refusal.reason, field)
    if refusal.verdict is Verdict.SUSPENDED:
        return Refusal(409, "suspended", refusal.reason, "saga")
    return Refusal(422, "invalid_input", refusal.reason, refusal.field or "input")
