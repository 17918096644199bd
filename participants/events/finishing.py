"""Which functions of a participant hear that a saga it started has ended, and how the news reaches them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from amends.db.crashpoints import crash_point
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.ports import Delivery
from amends.outbox.receipting import receipt_of
from amends.outbox.wire import Op
from amends.participants.errors import InvalidHandler
from amends.participants.events.arrivals import (
    HEADER_TRIES,
    Arrival,
    count_in,
    plain_body,
    traceparent_of,
)
from amends.participants.events.context import FinishedCtx
from amends.participants.signature import read_signature

if TYPE_CHECKING:
    from amends.participants.context import Workspace
    from amends.participants.events.taking import Taking
    from amends.participants.participant import Handler
    from amends.participants.worker.calling import Caller

log = logging.getLogger(__name__)


class FinishedSaga(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler is told of a saga that has ended, or whose start was rejected.

    `result` is what the definition's `result` makes, of a completed one; `reason` says why it was compensated or
    rejected. A Struct of a handler's own, with some of these fields and a type for the result, does as well.
    """

    saga: str
    name: str
    version: int
    status: Literal["completed", "compensated", "rejected"]
    result: Any = None
    reason: str = ""
    labels: dict[str, str] = {}
    started_at: int
    ended_at: int
    resultmissing: str = ""

    @property
    def completed(self) -> bool:
        """It went through."""
        return self.status == "completed"

    @property
    def ended(self) -> datetime:
        """When it ended, by the coordinator's database."""
        return datetime.fromtimestamp(self.ended_at / 1000, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """A handler and the sagas whose end it hears of; none: of all that no other one hears of."""

    handler: Handler
    sagas: tuple[str, ...]
    attempts: int


class Finishers:
    """Those of one participant."""

    def __init__(self, participant: str) -> None:
        self._participant = participant
        self._all: list[Finisher] = []

    def __iter__(self) -> Iterator[Finisher]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, finisher: Finisher) -> None:
        """Raises: InvalidHandler if another one hears of one of its sagas, or has its name."""
        for standing in self._all:
            both = set(standing.sagas) & set(finisher.sagas)
            if both or not (standing.sagas or finisher.sagas):
                which = ", ".join(sorted(both)) or "every other saga"
                raise InvalidHandler(
                    f"participant {self._participant!r}: {standing.handler.name!r} hears of the end of {which} already"
                )
            if standing.handler.name == finisher.handler.name:
                raise InvalidHandler(
                    f"participant {self._participant!r} has a handler {finisher.handler.name!r} of ended sagas; "
                    f"give one of them a name=..."
                )
        self._all.append(finisher)

    def find(self, saga: str) -> Finisher | None:
        """Who hears of the end of a saga of this name."""
        others = None
        for one in self._all:
            if saga in one.sagas:
                return one
            others = others if one.sagas else one
        return others

    def with_handlers(self, handler: Callable[[Handler], Handler]) -> Finishers:
        """The same ones, each with its handler as `handler` makes it anew."""
        other = Finishers(self._participant)
        other._all = [replace(one, handler=handler(one.handler)) for one in self._all]
        return other


def make_finisher(
    name: str,
    function: Callable[..., Any],
    sagas: tuple[str, ...],
    *,
    attempts: int,
    names: Mapping[str, Any],
) -> Finisher:
    """What `@participant.finished` makes of a function. Raises: InvalidHandler, naming the mend."""
    from amends.participants.participant import Handler

    where = f"handler {name!r} of ended sagas"
    if not all(isinstance(one, str) and 0 < len(one) <= wire.NAME_CHARS_MAX for one in sagas):
        raise InvalidHandler(f"{where}: give names of sagas: finished('place-order')")
    if attempts < 1:
        raise InvalidHandler(f"{where}: attempts must be at least 1, not {attempts}")
    signature = read_signature(function, takes_result=False, names=names, context=FinishedCtx)
    return Finisher(
        handler=Handler(Op.DO, name, function, signature),
        sagas=tuple(dict.fromkeys(sagas)),
        attempts=attempts,
    )


class Finishing:
    """What a lane does with the news of ended sagas. Thread-safe."""

    def __init__(
        self,
        finishers: Finishers,
        takings: Mapping[str, Taking],
        unknown: Taking,
        *,
        participant: str,
        prefix: str,
    ) -> None:
        """`takings` are by handler's name; `unknown` deals with what no handler here hears of."""
        self._finishers = finishers
        self._takings = takings
        self._unknown = unknown
        self._participant = participant
        self._prefix = prefix

    def obey(
        self, deliveries: Sequence[Delivery], caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        """Deal with some news; `done` is told of each that is, durably. Raises: StoreUnavailable, CommitUnknown."""
        crash_point("participant.received")
        for delivery in deliveries:
            self._hear(delivery, caller)
            done([delivery])

    def _hear(self, delivery: Delivery, caller: Caller) -> None:
        try:
            told = read_finished(delivery)
        except MalformedMessage as error:
            # Receipted: it would come again for ever, and be no better (O1).
            self._unknown.bury(delivery, None, str(error), receipt=receipt_of(delivery, "buried"))
            return
        arrival = self._arrival(delivery, told)
        finisher = self._finishers.find(told.name)
        if finisher is None:
            # Its start asked for it, so a newer process of this participant may know what to do.
            self._unknown.put_off(delivery, arrival, f"no handler here hears of the end of {told.name!r}")
            return
        self._takings[finisher.handler.name].take(delivery, arrival, caller)

    def _arrival(self, delivery: Delivery, told: wire.Finished) -> Arrival:
        return Arrival(
            key=UUID(told.saga),
            path=f"finished:{UUID(told.id)}",
            payload=delivery.body,
            # It comes until it is receipted, however late: nothing that was forgotten could be taken for new (O1, B6).
            started_ms=time.time_ns() // 1_000_000,
            context=lambda workspace: self._context(delivery, told, workspace),
            described={"saga": told.saga, "saga_name": told.name, "saga_status": told.status},
            receipt=receipt_of(delivery, "heard"),
        )

    def _context(self, delivery: Delivery, told: wire.Finished, workspace: Workspace) -> FinishedCtx:
        return FinishedCtx(
            saga=told.saga,
            attempt=count_in(delivery, HEADER_TRIES) + 1,
            participant=self._participant,
            prefix=self._prefix,
            traceparent=traceparent_of(delivery),
            workspace=workspace,
        )


def read_finished(delivery: Delivery) -> wire.Finished:
    """The news in a message. Raises: MalformedMessage, saying what is wrong."""
    told = wire.decode(delivery.type, plain_body(delivery))
    if not isinstance(told, wire.Finished):
        raise MalformedMessage(f"this queue takes {wire.FINISHED}, not {delivery.type[:60]!r}")
    try:
        UUID(told.saga), UUID(told.id)
    except ValueError as error:
        raise MalformedMessage("saga and id are UUIDs") from error
    return told
