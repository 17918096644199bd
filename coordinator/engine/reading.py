"""Deliveries from the coordinator's queue, read into items. What cannot be read is dead-lettered, never raised."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

import msgspec

from amends.coordinator.engine.intake import (
    AnyItem,
    DeadLetterItem,
    ReceiptTo,
    ReplyItem,
    ReportItem,
    SignalItem,
    StartItem,
    TellItem,
)
from amends.coordinator.engine.signalling import signal_of
from amends.coordinator.saga.effects import Order, ReportOutcome
from amends.coordinator.saga.events import Outcome, Replied, Reported, Told
from amends.coordinator.saga.state import Op, Parent, queue_of
from amends.outbox import wire
from amends.outbox.errors import MalformedMessage
from amends.outbox.ports import Delivery
from amends.outbox.traces import trace_of

PLAIN_ENCODINGS: Final = frozenset({"", "utf-8", "utf8", "identity"})
DELIVERIES_MAX: Final = 20  # A message that was handed out this often may kill whoever reads it.
RETRY_AFTER_MAX_S: Final = 7 * 86_400.0
REASON_CHARS_MAX: Final = 2_000


def read(delivery: Delivery, *, body_bytes_max: int) -> AnyItem:
    """What a delivery says.

    Compressed messages are refused by their header, before anything is unpacked.
    """
    if delivery.fault:
        # Never receipted: where to is what its headers say, and they are not believed.
        return replace(_dead(delivery, delivery.fault), receipt=None)
    if delivery.content_encoding.lower() not in PLAIN_ENCODINGS:
        return _dead(delivery, f"compressed ({delivery.content_encoding}): send plain JSON")
    if len(delivery.body) > body_bytes_max:
        return _dead(delivery, f"{len(delivery.body):,} bytes, over the limit of {body_bytes_max:,}")
    if delivery.delivery_count > DELIVERIES_MAX:
        # Never receipted: it may be a healthy one that shared its consumer's bad luck, and its sender has it still.
        letter = _dead(delivery, f"delivered {delivery.delivery_count} times without being dealt with")
        return replace(letter, receipt=None)
    try:
        body = wire.decode(delivery.type, delivery.body)
        match body:
            case wire.Reply():
                return _reply(delivery, body)
            case wire.Start():
                return _start(delivery, body)
            case wire.Signal():
                return _signal(delivery, body)
            case wire.Tell():
                return _tell(delivery, body)
            case wire.Report():
                return _report(delivery, body)
            case _:
                return _dead(delivery, f"{delivery.type} is not for the coordinator")
    except (MalformedMessage, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return _dead(delivery, str(error))


def receipt_to(delivery: Delivery) -> ReceiptTo | None:
    """Who waits for this message's receipt, if anybody."""
    queue = delivery.headers.get(wire.HEADER_RECEIPT_TO)
    row = delivery.headers.get(wire.HEADER_ROW)
    if not isinstance(queue, str) or not isinstance(row, str | int):
        return None
    try:
        return ReceiptTo(queue, int(row))
    except ValueError:
        return None


def _reply(delivery: Delivery, reply: wire.Reply) -> ReplyItem:
    if len(reply.path) > wire.PATH_CHARS_MAX or len(reply.participant) > wire.NAME_CHARS_MAX:
        raise MalformedMessage("path or participant is too long")
    op = Op(reply.op.value)
    event = Replied(
        path=reply.path,
        op=op,
        round=reply.round,
        attempt=reply.attempt,
        outcome=Outcome(reply.outcome.value),
        result=msgspec.json.decode(reply.result),
        reason=reply.reason[:REASON_CHARS_MAX].replace("\x00", ""),
        certain=reply.certain,
        spent=reply.spent,
        retry_after=_milliseconds(reply.retry_after_s),
        ran_in_round=reply.ran_in_round,
        in_doubt=reply.in_doubt,
        closes=Op(reply.closes.value) if reply.closes is not None else None,
        holds=reply.holds,
    )
    return ReplyItem(
        saga_id=str(UUID(reply.saga)),
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type,
        event=event,
        queue=queue_of(reply.participant, op),
    )


def _start(delivery: Delivery, start: wire.Start) -> StartItem:
    saga_id = str(UUID(start.saga))
    if start.key is not None and saga_id != wire.saga_id_of(start.name, start.key):
        raise MalformedMessage(f"saga {saga_id} is not the id that its name and key give")
    if start.parent is not None:
        parent_of(start.parent)  # It is one, or raises.
    return StartItem(
        saga_id=saga_id,
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type,
        start=start,
        trace=trace_of(delivery.headers),
        receipt=receipt_to(delivery),
    )


def _signal(delivery: Delivery, signal: wire.Signal) -> SignalItem:
    return SignalItem(
        saga_id=str(UUID(signal.saga)),
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type,
        event=signal_of(signal.name, signal.id or delivery.message_id, bytes(signal.payload)),
        receipt=receipt_to(delivery),
    )


def parent_of(caller: wire.Caller) -> Parent:
    """Who calls. Raises: ValueError, MalformedMessage for what cannot be one."""
    if len(caller.path) > wire.PATH_CHARS_MAX:
        raise MalformedMessage("parent.path is too long")
    return Parent(saga=str(UUID(caller.saga)), path=caller.path, round=caller.round, holds=caller.holds)


def _tell(delivery: Delivery, tell: wire.Tell) -> TellItem:
    return TellItem(
        saga_id=str(UUID(tell.saga)),
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type,
        event=Told(order=Order(tell.order), round=tell.parent.round),
        parent=parent_of(tell.parent),
        receipt=receipt_to(delivery),
    )


def _report(delivery: Delivery, report: wire.Report) -> ReportItem:
    if len(report.path) > wire.PATH_CHARS_MAX:
        raise MalformedMessage("path is too long")
    return ReportItem(
        saga_id=str(UUID(report.saga)),
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type,
        event=Reported(
            path=report.path,
            child=str(UUID(report.child)),
            round=report.round,
            outcome=ReportOutcome(report.outcome),
            result=msgspec.json.decode(report.result),
            reason=report.reason[:REASON_CHARS_MAX].replace("\x00", ""),
        ),
        receipt=receipt_to(delivery),
    )


def _dead(delivery: Delivery, reason: str) -> DeadLetterItem:
    return DeadLetterItem(
        saga_id="",
        tag=delivery.tag,
        body=delivery.body,
        message_id=delivery.message_id[:64],
        type=delivery.type[:255],
        delivery=delivery,
        reason=reason[:REASON_CHARS_MAX],
        receipt=receipt_to(delivery),
    )


def _milliseconds(seconds: float | None) -> int | None:
    if seconds is None:
        return None
    return int(1000 * min(max(seconds, 0.0), RETRY_AFTER_MAX_S))
