"""Sagas over HTTP: start, look, wait, list. The operator's acts are in `acts.py`."""

from __future__ import annotations

import time
from typing import Annotated, Final
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Header, Query, Response

from amends.coordinator import queries
from amends.coordinator.engine.contract import StartAnswer, Verdict
from amends.coordinator.http.access import Reader, Starter
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import Door
from amends.coordinator.http.finding import there
from amends.coordinator.http.parameters import (
    cursor_of,
    labels_of,
    moment_or_none,
    plain,
    position_of,
)
from amends.coordinator.http.requests import StartBody
from amends.coordinator.http.showing import needs_plan, shown_line, shown_saga, shown_timeline
from amends.coordinator.http.views import SagaPage, SagaView, StartedView, TimelineView
from amends.coordinator.records import Position, SagaFilter
from amends.coordinator.saga.state import Status
from amends.outbox.traces import said
from amends.outbox.wire import Start, saga_id_of

router = APIRouter(prefix="/sagas", tags=["sagas"])

WAIT_S_MAX: Final = 60
PAGE_MAX: Final = 200
STEPS_MAX: Final = 1_000
TIMELINE_MAX: Final = 5_000


@router.post("", status_code=201, responses={200: {"model": StartedView, "description": "It stood already."}})
async def start_saga(
    body: StartBody,
    response: Response,
    door: Door,
    caller: Starter,
    traceparent: Annotated[str | None, Header(description="The W3C trace this start belongs to.")] = None,
    tracestate: Annotated[str | None, Header(description="What its vendors add to that.")] = None,
) -> StartedView:
    """Start a saga. With a key, repeating it is safe: 201 the first time, 200 after."""
    start = Start(
        saga=saga_id_of(body.name, body.key) if body.key is not None else str(uuid4()),
        name=body.name,
        input=msgspec.Raw(msgspec.json.encode(body.input)),
        version=body.version,
        key=body.key,
        labels=dict(body.labels),
        sent_at=time.time_ns() // 1_000_000,
        finished=body.finished,
    )
    trace = said(traceparent, tracestate)
    answer = await door.answer(door.engine.submit_start(start, actor=caller.name, trace=trace))
    if answer.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise _start_refused(body, answer)
    created = answer.verdict is Verdict.ACCEPTED
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/sagas/{answer.saga_id}"
    return StartedView(id=answer.saga_id, status=answer.status or Status.RUNNING.value, created=created)


@router.get("")
async def list_sagas(
    door: Door,
    _: Reader,
    status: Annotated[list[Status] | None, Query(description="One or more.")] = None,
    name: Annotated[str | None, Query(max_length=120)] = None,
    key: Annotated[str | None, Query(min_length=1, max_length=255)] = None,
    label: Annotated[list[str] | None, Query(description="`name=value`; all of them.", max_length=20)] = None,
    parent: Annotated[UUID | None, Query(description="The children of this saga.")] = None,
    older: Annotated[str | None, Query(description="Started before: `1h` ago, or a time.")] = None,
    newer: Annotated[str | None, Query(description="Started after: `1h` ago, or a time.")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
) -> SagaPage:
    """Sagas, newest first."""
    wanted = SagaFilter(
        statuses=[one.value for one in status or ()],
        name=plain("name", name),
        key=plain("key", key),
        labels=labels_of(label or ()),
        parent=str(parent) if parent is not None else None,
        before=moment_or_none("older", older),
        after=moment_or_none("newer", newer),
    )
    # One more than asked for tells whether there is a next page.
    rows = await door.reading.run(queries.page_of_sagas, wanted, position_of(cursor), limit + 1)
    more = len(rows) > limit
    shown = rows[:limit]
    following = cursor_of(Position(shown[-1].created_at, shown[-1].id)) if more else None
    return SagaPage(sagas=[shown_line(row) for row in shown], next=following)


@router.get("/{saga_id}")
async def get_saga(
    saga_id: UUID,
    door: Door,
    _: Reader,
    wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait for its end.")] = 0,
    payloads: Annotated[bool, Query(description="With its input and its steps' results.")] = False,
) -> SagaView:
    """One saga. With `wait` the answer comes when it has ended, or after so many seconds as it is then."""
    if wait:
        await door.waiting.until_ended(str(saga_id), wait)
    found = await door.reading.run(queries.find_saga, saga_id, steps_max=STEPS_MAX)
    detail, catalog = there(saga_id, found), door.engine.catalog
    header, definition = detail.header, None
    if needs_plan(detail):
        # The catalog may ask the database: not on the event loop.
        definition = await door.reading.run(lambda _: catalog.get(header.name, header.version))
    return shown_saga(detail, definition.plan if definition is not None else None, payloads=payloads)


@router.get("/{saga_id}/timeline")
async def get_timeline(saga_id: UUID, door: Door, _: Reader) -> TimelineView:
    """What happened to a saga, line by line, and what it waits for now."""
    found = there(saga_id, await door.reading.run(queries.history, saga_id, rows_max=TIMELINE_MAX))
    catalog = door.engine.catalog
    # The catalog may ask the database, and a long log takes a while to replay: not on the event loop.
    return await door.reading.run(
        lambda _: shown_timeline(
            found,
            catalog.get(found.detail.header.name, found.detail.header.version),
            rows_max=TIMELINE_MAX,
        )
    )


def _start_refused(body: StartBody, answer: StartAnswer) -> Refusal:
    match answer.verdict:
        case Verdict.CONFLICT:
            message = (
                f"key {answer.key!r} of saga {body.name!r} belongs to a start with other input ({answer.saga_id}), "
                f"which is as it was; use another key, or send the same input"
            )
            return Refusal(409, "key_conflict", message, "key")
        case Verdict.SPENT:
            message = f"key {answer.key!r} of {body.name!r} belonged to a saga that ended and was pruned; use another"
            return Refusal(409, "key_spent", message, "key")
        case Verdict.UNKNOWN_DEFINITION:
            field = "name" if body.version is None else "version"
            return Refusal(409, "unknown_definition", answer.reason, field)
        case Verdict.SUSPENDED:
            return Refusal(409, "suspended", answer.reason, "name")
        case _:
            return Refusal(422, "invalid_input", answer.reason, answer.field or "input")
