"""The messages a coordinator sends: commands, events, receipts, dead letters, and to itself what has to wait."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from amends.coordinator.engine.intake import ReceiptTo, StartItem
from amends.coordinator.saga.effects import Publish, Send
from amends.coordinator.saga.events import Signalled
from amends.coordinator.saga.state import Op, Pivot, Saga, Status
from amends.outbox import wire
from amends.outbox.message import CONTENT_TYPE, HEADER_CONTENT_TYPE, Message, new_message_id
from amends.outbox.ports import (
    command_queue,
    coordinator_queue,
    events_exchange,
    finished_queue,
)
from amends.outbox.storage import Resend
from amends.outbox.traces import carrying, parted

log = logging.getLogger(__name__)

# The row stays until its receipt and is sent again at least so often: a queue that nobody reads keeps no heap.
COPY_MS: Final = int(1_000 * Resend().longest_s)


_ENDED: Final[dict[Status, Literal["completed", "compensated", "rejected"]]] = {
    Status.COMPLETED: "completed",
    Status.COMPENSATED: "compensated",
    Status.REJECTED: "rejected",
}
_raw = msgspec.json.Encoder().encode


def command(prefix: str, saga: Saga, send: Send) -> Message:
    """The message of one Send. It expires with its attempt: a later attempt would say the same (M6)."""
    body = wire.Command(
        saga=saga.id,
        name=saga.name,
        path=send.path,
        op=wire.Op(send.op.value),
        command=send.command,
        round=send.round,
        attempt=send.attempt,
        args=msgspec.Raw(_raw(send.args)),
        closes=wire.Op(send.closes.value) if send.closes is not None else None,
        started_at=saga.started,
        deadline=saga.deadline,
        labels=dict(saga.labels),
        holds=send.op is Op.DO and _may_hold(saga),
        settled=send.op is Op.DO and not _can_turn_back(saga),
    )
    return Message(
        routing_key=command_queue(prefix, send.participant, undo=send.op is not Op.DO),
        type=wire.COMMAND,
        body=wire.encode(body),
        correlation_id=saga.id,
        reply_to=coordinator_queue(prefix),
        headers=carrying(saga.trace),
        expiration_ms=max(send.timeout, 1_000),
    )


def end(prefix: str, saga: Saga | str, participant: str) -> Message:
    """Tell a participant that a saga, perhaps one of which only the id is known, is over (L4).

    Nothing would send it again, so its row stays until the participant's receipt (O1).
    """
    id_ = saga.id if isinstance(saga, Saga) else saga
    body = wire.Command(
        saga=id_,
        name=saga.name if isinstance(saga, Saga) else "",
        path="",
        op=wire.Op.END,
        command="",
        round=1,
        attempt=1,
        started_at=saga.started if isinstance(saga, Saga) else 0,
    )
    return Message(
        routing_key=command_queue(prefix, participant, undo=True),
        type=wire.COMMAND,
        body=wire.encode(body),
        correlation_id=id_,
        headers=carrying(saga.trace if isinstance(saga, Saga) else ""),
        needs_receipt=True,
        expiration_ms=COPY_MS,
    )


def event(prefix: str, saga: Saga, publish: Publish, *, bytes_max: int) -> Message:
    """The message of one Publish, whose copies all have one id.

    It always goes out: data too large for a message is left out, and the event says so.
    """
    # A saga that gets stuck again tells of something new, where a step's event is the same however often it comes.
    place = publish.path or f"#{saga.seq}"
    parent, state = parted(saga.trace)
    head = wire.DomainEvent(
        specversion="1.0",
        id=wire.event_id_of(saga.id, place, publish.op.value),
        source=f"/{prefix}/sagas/{saga.name}",
        type=publish.type,
        subject=saga.id,
        time=datetime.fromtimestamp(saga.clock / 1000, UTC).isoformat(timespec="milliseconds"),
        traceparent=parent,
        tracestate=state,
        saganame=saga.name,
        sagapath=publish.path,
        sagaop=publish.op.value,
    )
    data = msgspec.Raw(_raw(publish.data))
    body = wire.encode(msgspec.structs.replace(head, datacontenttype=CONTENT_TYPE, data=data))
    if len(body) > bytes_max:
        log.warning(
            "event_without_data", extra={"saga_id": saga.id, "path": publish.path, "bytes": len(body)}
        )
        missing = f"the event has {len(body):,} bytes, over the limit of {bytes_max:,}"
        body = wire.encode(msgspec.structs.replace(head, datamissing=missing))
    headers = {HEADER_CONTENT_TYPE: wire.CLOUD_EVENT, **carrying(saga.trace)}
    return Message(
        exchange=events_exchange(prefix),
        routing_key=publish.type,
        type=publish.type,
        body=body,
        message_id=head.id,
        correlation_id=saga.id,
        headers=headers,
    )


def finished(prefix: str, saga: Saga, told: str, id_: str, *, bytes_max: int) -> Message:
    """Tell the participant `told` that a saga has ended, or was rejected.

    Nobody would send it again, so it is kept until its receipt (O1). A result too large for a message is left out, and
    the message says so.
    """
    body = wire.Finished(
        id=id_,
        saga=saga.id,
        name=saga.name,
        version=saga.version,
        status=_ENDED[saga.status],
        result=msgspec.Raw(_raw(saga.result if saga.status is Status.COMPLETED else None)),
        reason=saga.cause[: wire.REASON_CHARS_MAX],
        labels=dict(saga.labels),
        started_at=saga.started,
        ended_at=saga.clock,
    )
    size = len(wire.encode(body))
    if size > bytes_max:
        missing = f"the result makes {size:,} bytes, over the limit of {bytes_max:,}"
        log.warning("finished_without_result", extra={"saga_id": saga.id, "bytes": size})
        body = msgspec.structs.replace(body, result=wire.NULL, resultmissing=missing)
    return Message(
        routing_key=finished_queue(prefix, told),
        type=wire.FINISHED,
        body=wire.encode(body),
        correlation_id=saga.id,
        headers=carrying(saga.trace),
        needs_receipt=True,
        expiration_ms=COPY_MS,
    )


def _may_hold(saga: Saga) -> bool:
    """Whether the saga may hold locks, and can still turn back. A child's parent may hold what it wants (L2)."""
    return bool(saga.holders or saga.parent is not None) and _can_turn_back(saga)


def _can_turn_back(saga: Saga) -> bool:
    """Whether a refusal does no harm: not after the pivot, its own or that of the parent that has called it (K4)."""
    return saga.pivot is not Pivot.PASSED and (saga.parent is None or saga.parent.holds)


def receipt(to: ReceiptTo, message_id: str, note: str) -> Message:
    """Tell a sender that its message is dealt with, durably (O1). A lost receipt is asked for again."""
    body = wire.Receipt(message_id=message_id, row=to.row, note=note)
    return Message(routing_key=to.queue, type=wire.RECEIPT, body=wire.encode(body))


def start_again(prefix: str, item: StartItem, delay_s: float) -> Message:
    """The same start once more, `delay_s` seconds from now: it waits, and nobody but us would send it again."""
    return Message(
        routing_key=coordinator_queue(prefix),
        type=wire.START,
        body=item.body,
        message_id=item.message_id or new_message_id(),
        correlation_id=item.saga_id,
        headers=carrying(item.trace),
        delay_s=delay_s,
    )


def signal_again(prefix: str, saga_id: str, signal: Signalled) -> Message:
    """A signal for an id that stands for this saga, passed on; the saga tells copies by the signal's own id (S1)."""
    body = wire.Signal(
        saga=saga_id, name=signal.name, payload=msgspec.Raw(_raw(signal.payload)), id=signal.message_id
    )
    return Message(
        routing_key=coordinator_queue(prefix),
        type=wire.SIGNAL,
        body=wire.encode(body),
        correlation_id=saga_id,
        needs_receipt=True,
    )
