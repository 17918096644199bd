"""The events of one subscriber: read, judged by type and version, and taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from amends.db.crashpoints import crash_point
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.ports import Delivery
from amends.participants.context import Workspace
from amends.participants.events.arrivals import (
    HEADER_TRIES,
    Arrival,
    count_in,
    heard_id,
    read_event,
    row_in,
    sent_ms,
    time_of,
    traceparent_of,
)
from amends.participants.events.context import EventCtx
from amends.participants.events.subscriptions import Subscription
from amends.participants.events.taking import Taking
from amends.participants.events.versions import Fit
from amends.participants.logging import current_scope
from amends.participants.worker.calling import Caller

log = logging.getLogger(__name__)


class Hearing:
    """What a lane does with the events of one subscription. Thread-safe."""

    def __init__(self, subscription: Subscription, taking: Taking, *, participant: str, prefix: str) -> None:
        self._subscription = subscription
        self._taking = taking
        self._participant = participant
        self._prefix = prefix

    def obey(
        self, deliveries: Sequence[Delivery], caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        """Deal with some events; `done` is told of each that is, durably. Raises: StoreUnavailable, CommitUnknown."""
        crash_point("participant.received")
        for delivery in deliveries:
            self._hear(delivery, caller)
            done([delivery])

    def _hear(self, delivery: Delivery, caller: Caller) -> None:
        subscription, taking = self._subscription, self._taking
        try:
            event = read_event(delivery)
        except MalformedMessage as error:
            taking.bury(delivery, None, str(error))
            return
        arrival = self._arrival(delivery, event)
        if not subscription.wants(event.type):
            # Bound by a process that is newer, or was older: its queue outlives every process.
            why = f"no handler here hears of {event.type[:120]!r}: {', '.join(subscription.patterns)}"
            taking.put_off(delivery, arrival, why)
            return
        fit = subscription.versions.fit(_version(event))
        if fit is Fit.OLDER:
            log.info("event_passed_over", extra={**arrival.described, "takes": str(subscription.versions)})
            taking.count("passed_over")
        elif fit is Fit.NEWER and subscription.newer != "handle":
            self._meet_newer(delivery, arrival, caller, _version(event))
        else:
            taking.take(delivery, arrival, caller)

    def _meet_newer(self, delivery: Delivery, arrival: Arrival, caller: Caller, version: int) -> None:
        why = f"version {version} is newer than the handler takes: {self._subscription.versions}"
        match self._subscription.newer:
            case "refuse":
                self._taking.take(delivery, replace(arrival, refusal=why), caller)
            case "dead-letter":
                self._taking.bury(delivery, arrival, why)
            case _:
                self._taking.put_off(delivery, arrival, why)

    def _arrival(self, delivery: Delivery, event: wire.DomainEvent) -> Arrival:
        emitted_ms = sent_ms(event)
        missing = event.data is msgspec.UNSET
        return Arrival(
            key=heard_id(event.source, event.id),
            path=f"on:{self._subscription.name}",
            payload=b"null" if missing else bytes(event.data),  # type: ignore[arg-type]
            started_ms=_now_ms() if emitted_ms is None else emitted_ms,
            context=lambda workspace: self._context(delivery, event, workspace),
            described={
                "event_id": event.id[:120],
                "event_type": event.type[:120],
                "event_source": event.source[:120],
            },
        )

    def _context(self, delivery: Delivery, event: wire.DomainEvent, workspace: Workspace) -> EventCtx:
        scope = current_scope()
        return EventCtx(
            id=event.id,
            source=event.source,
            type=event.type,
            version=_version(event),
            subject=event.subject,
            time=time_of(event),
            key=event.partitionkey,
            row=row_in(delivery),
            saga=event.subject if event.saganame else "",
            attempt=count_in(delivery, HEADER_TRIES) + 1,
            participant=self._participant,
            prefix=self._prefix,
            # Where tracing is on the work on it, else what it came with.
            traceparent=scope.traceparent if scope is not None else traceparent_of(delivery),
            workspace=workspace,
        )


def _version(event: wire.DomainEvent) -> int:
    return 1 if event.dataversion is None else event.dataversion


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
