"""An operator's acts over HTTP, on one saga or on many (A1 to A5). Each is one transaction, and audited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from amends.coordinator import queries
from amends.coordinator.engine.contract import ActAnswer, ActVerdict
from amends.coordinator.http.access import Operator
from amends.coordinator.http.acting import act_on
from amends.coordinator.http.answers import Refusal, why_no_answer
from amends.coordinator.http.door import Door
from amends.coordinator.http.parameters import cursor_of, moment_or_none, plain, position_of
from amends.coordinator.http.requests import (
    ActBody,
    Body,
    EditBody,
    ForceBody,
    Label,
    LabelValue,
    Name,
    RetryBody,
    SkipBody,
    duration_of,
)
from amends.coordinator.http.views import ActedPage, ActedView, ActView
from amends.coordinator.records import Header, Position, SagaFilter
from amends.coordinator.saga.events import Act, Compensate, Edit, Finish, Force, Retry, Skip
from amends.coordinator.saga.state import Status
from amends.outbox.wire import LABELS_MAX

router = APIRouter(prefix="/sagas", tags=["acts"])

MANY_MAX: Final = 200
MANY: Final = 50
_OUTCOMES: Final[dict[ActVerdict, Literal["applied", "would"]]] = {
    ActVerdict.APPLIED: "applied",
    ActVerdict.FITS: "would",
}


class RetryMany(RetryBody):
    """`retry`, on many."""

    act: Literal["retry"]


class EditMany(EditBody):
    """`edit`, on many."""

    act: Literal["edit"]


class SkipMany(SkipBody):
    """`skip`, on many."""

    act: Literal["skip"]


class ForceMany(ForceBody):
    """`force`, on many."""

    act: Literal["force"]


class CompensateMany(ActBody):
    """`compensate`, on many."""

    act: Literal["compensate"]


class FinishMany(ActBody):
    """`finish`, on many."""

    act: Literal["finish"]


AnyAct: TypeAlias = RetryMany | EditMany | SkipMany | ForceMany | CompensateMany | FinishMany


class Where(Body):
    """Which sagas; all that is said must fit, and something must be said."""

    status: list[Literal["running", "compensating", "stuck"]] = Field([], max_length=3)
    name: Name | None = None
    labels: dict[Label, LabelValue] = Field({}, max_length=LABELS_MAX)
    older: str | None = Field(None, description="Started before: `1h` ago, or a time.", max_length=64)
    newer: str | None = Field(None, description="Started after: `1h` ago, or a time.", max_length=64)


class ManyBody(Body):
    """Do the same to many sagas, some at a time: repeat with `cursor` until `next` is null."""

    what: Annotated[AnyAct, Field(discriminator="act", description="The act, with its fields.")]
    where: Where
    dry_run: bool = Field(False, description="Only tell which sagas it would be, and which would refuse.")
    cursor: str | None = Field(None, max_length=200, description="`next` of the answer before.")
    limit: int = Field(MANY, ge=1, le=MANY_MAX)


@router.post("/{saga_id}/retry")
async def retry_saga(saga_id: UUID, body: RetryBody, door: Door, caller: Operator) -> ActView:
    """Make everything outstanding due again; stuck steps in a new round."""
    return await act_on(door, saga_id, event_of(body, caller.name), in_ms_of(body))


@router.post("/{saga_id}/edit")
async def edit_step(saga_id: UUID, body: EditBody, door: Door, caller: Operator) -> ActView:
    """Give a step other args and ask it again in a new round. If it ran in an older one, the saga tells."""
    return await act_on(door, saga_id, event_of(body, caller.name), in_ms_of(body))


@router.post("/{saga_id}/skip")
async def skip_step(saga_id: UUID, body: SkipBody, door: Door, caller: Operator) -> ActView:
    """Do without a stuck step, once a closing fence has told what became of it."""
    return await act_on(door, saga_id, event_of(body, caller.name))


@router.post("/{saga_id}/force")
async def force_step(saga_id: UUID, body: ForceBody, door: Door, caller: Operator) -> ActView:
    """Say what came of a stuck step, once a closing fence has told that it did not happen."""
    return await act_on(door, saga_id, event_of(body, caller.name))


@router.post("/{saga_id}/compensate")
async def compensate_saga(saga_id: UUID, body: ActBody, door: Door, caller: Operator) -> ActView:
    """Turn back now."""
    return await act_on(door, saga_id, Compensate(actor=caller.name, reason=body.reason))


@router.post("/{saga_id}/finish")
async def finish_saga(saga_id: UUID, body: ActBody, door: Door, caller: Operator) -> ActView:
    """End a stuck saga as it is, once closing fences have told what became of what is outstanding."""
    return await act_on(door, saga_id, Finish(actor=caller.name, reason=body.reason))


@router.post("/acts")
async def act_on_many(body: ManyBody, door: Door, caller: Operator) -> ActedPage:
    """Do the same to many sagas, oldest pages last. Each is decided by itself: some may refuse."""
    where = body.where
    if not (where.status or where.name or where.labels or where.older or where.newer):
        raise Refusal(
            422, "invalid_request", 'where: say which sagas, such as {"status": ["stuck"]}', "where"
        )
    wanted = SagaFilter(
        statuses=where.status or [one.value for one in Status if not one.ended],
        name=where.name,
        labels={plain("where.labels", name) or "": value for name, value in where.labels.items()},
        before=moment_or_none("where.older", where.older),
        after=moment_or_none("where.newer", where.newer),
    )
    rows = await door.reading.run(queries.page_of_sagas, wanted, position_of(body.cursor), body.limit + 1)
    chosen = rows[: body.limit]
    following = cursor_of(Position(chosen[-1].created_at, chosen[-1].id)) if len(rows) > body.limit else None
    what = body.what
    acted = await _all(door, chosen, event_of(what, caller.name), in_ms_of(what), dry=body.dry_run)
    return ActedPage(sagas=acted, next=following)


def event_of(body: ActBody, actor: str) -> Act:
    """The act that a body asks for; its new deadline is `in_ms_of`."""
    match body:
        case EditBody():
            return Edit(actor=actor, reason=body.reason, path=body.path, args=body.args)
        case ForceBody():
            if body.refuse and body.result is not None:
                message = "result: a refusal has none; say `result` or `refuse`"
                raise Refusal(422, "invalid_request", message, "result")
            return Force(
                actor=actor, reason=body.reason, path=body.path, refuse=body.refuse, result=body.result
            )
        case SkipBody():
            return Skip(actor=actor, reason=body.reason, path=body.path)
        case RetryBody():
            return Retry(actor=actor, reason=body.reason, path=body.path)
        case CompensateMany():
            return Compensate(actor=actor, reason=body.reason)
        case FinishMany():
            return Finish(actor=actor, reason=body.reason)
        case _:
            raise AssertionError(f"{type(body).__name__} is no act")


def in_ms_of(body: ActBody) -> int | None:
    """How long from now the deadline is that a body sets."""
    deadline = body.deadline if isinstance(body, RetryBody | EditBody) else None
    return None if deadline is None else duration_of(deadline)


async def _all(
    door: Door, rows: Sequence[Header], act: Act, in_ms: int | None, *, dry: bool
) -> list[ActedView]:
    """All of them at once: the decider takes them as one batch."""
    asked = [door.answer(door.engine.submit_act(row.id, act, in_ms=in_ms, dry=dry)) for row in rows]
    # One that gets no answer must not take away what became of the others, nor the cursor that leads past it.
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return [_told(row, answer) for row, answer in zip(rows, answers, strict=True)]


def _told(row: Header, answer: ActAnswer | BaseException) -> ActedView:
    if isinstance(answer, Exception):
        return _shown(row, "unknown", None, why_no_answer(answer))
    if isinstance(answer, BaseException):
        raise answer
    return _shown(row, _OUTCOMES.get(answer.verdict, "refused"), answer.status, answer.reason)


def _shown(row: Header, outcome: Any, status: str | None, reason: str) -> ActedView:
    return ActedView(id=row.id, name=row.name, outcome=outcome, status=status, reason=reason)
