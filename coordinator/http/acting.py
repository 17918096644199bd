"""An operator's act on one saga, and its answer."""

from __future__ import annotations

from uuid import UUID

from amends.coordinator.engine.contract import ActVerdict
from amends.coordinator.errors import UnknownSaga
from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.door import DoorState
from amends.coordinator.http.views import ActView
from amends.coordinator.saga.events import Act


async def act_on(door: DoorState, saga_id: UUID, act: Act, in_ms: int | None = None) -> ActView:
    """Do it in the engine's next batch; its time is `in_ms` from the saga's now, if that is given.

    Raises: Refusal (409) if it does not fit; UnknownSaga."""
    answer = await door.answer(door.engine.submit_act(str(saga_id), act, in_ms=in_ms))
    match answer.verdict:
        case ActVerdict.APPLIED | ActVerdict.FITS:
            return ActView(id=answer.saga_id, status=answer.status)
        case ActVerdict.REFUSED:
            raise Refusal(409, "act_refused", answer.reason)
        case ActVerdict.UNKNOWN_SAGA:
            raise UnknownSaga(str(saga_id))
