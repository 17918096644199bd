"""The receipt that a message asks for: who deals with it sends it, whatever became of it (O1)."""

from __future__ import annotations

from typing import Final

from amends.outbox import wire
from amends.outbox.limits import NAME_BYTES_MAX
from amends.outbox.message import Message
from amends.outbox.ports import Delivery

_ROW_MAX: Final = 2**63 - 1


def receipt_of(delivery: Delivery, note: str) -> Message | None:
    """What a message's sender waits for, if it says so (O1). Nothing goes to where one that is not believed says."""
    queue, row = (
        delivery.headers.get(wire.HEADER_RECEIPT_TO),
        str(delivery.headers.get(wire.HEADER_ROW) or ""),
    )
    if delivery.fault or not isinstance(queue, str) or not 0 < len(queue.encode()) <= NAME_BYTES_MAX:
        return None
    if not (row.isascii() and row.isdigit() and 0 < int(row) <= _ROW_MAX):
        return None
    body = wire.Receipt(message_id=delivery.message_id[:64], row=int(row), note=note)
    return Message(routing_key=queue, type=wire.RECEIPT, body=wire.encode(body))
