"""Signals over HTTP: `POST /sagas/{id}/signals/{name}`, whose body is the payload (S1, S3)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Body, Header, Response

from amends.coordinator.engine.contract import SignalAnswer, SignalVerdict
from amends.coordinator.http.access import Starter
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import Door
from amends.coordinator.http.views import SignalView
from amends.outbox.errors import MalformedMessage
from amends.outbox.message import new_message_id
from amends.outbox.wire import SIGNAL_BYTES_MAX

router = APIRouter(prefix="/sagas", tags=["sagas"])


@router.post(
    "/{saga_id}/signals/{name:path}",
    responses={202: {"model": SignalView, "description": "Kept: the saga has not started yet."}},
)
async def send_signal(
    saga_id: UUID,
    name: str,
    response: Response,
    door: Door,
    _: Starter,
    payload: Annotated[Any, Body(description="Any JSON: the result of the `wait` that takes it.")] = None,
    idempotency_key: Annotated[str | None, Header(description="Makes it safe to repeat.")] = None,
) -> SignalView:
    """Tell a saga what it waits for, or will. Early signals are kept, also for a saga that has not started yet."""
    body = msgspec.json.encode(payload)
    if len(body) > SIGNAL_BYTES_MAX:
        message = f"the payload has {len(body):,} bytes, over the limit of {SIGNAL_BYTES_MAX:,}"
        raise Refusal(413, "too_large", message)
    message_id = new_message_id() if idempotency_key is None else idempotency_key
    try:
        future = door.engine.submit_signal(str(saga_id), name, body, message_id=message_id)
    except MalformedMessage as error:
        field, _colon, _rest = str(error).partition(":")
        raise Refusal(422, "invalid_request", str(error), _FIELDS.get(field, field)) from None
    answer = await door.answer(future)
    if answer.verdict is SignalVerdict.KEPT:
        response.status_code = 202
    return _shown(name, answer)


_FIELDS = {"id": "Idempotency-Key"}


def _shown(name: str, answer: SignalAnswer) -> SignalView:
    match answer.verdict:
        case SignalVerdict.ACCEPTED | SignalVerdict.KEPT | SignalVerdict.DUPLICATE:
            outcome = answer.verdict.value
            return SignalView(id=answer.saga_id, name=name, outcome=outcome, status=answer.status)
        case SignalVerdict.UNKNOWN_SIGNAL:
            raise Refusal(404, "unknown_signal", answer.reason, "name")
        case SignalVerdict.PRUNED:
            raise Refusal(410, "pruned_saga", answer.reason, "saga_id")
        case SignalVerdict.ENDED:
            raise Refusal(409, "saga_ended", answer.reason, "saga_id")
        case SignalVerdict.TOO_MANY:
            raise Refusal(409, "too_many_signals", answer.reason, "saga_id")
