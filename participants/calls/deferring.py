"""A command that was sent without a saga, and met somebody in its way: it comes again, since nobody will ask again.

A saga's coordinator sends another attempt when a failure was unspent (M3), and so does a `call`. For a `send` the
participant does it: the command waits in the participant's own outbox.
"""

from __future__ import annotations

import random
import time
from typing import Final

from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import command_queue
from amends.outbox.traces import carrying
from amends.participants.barrier.answers import Answer
from amends.participants.worker.inbound import Inbound

HEADER_WAITS: Final = "amends-waits"
WAITS_MAX: Final = 20  # Over an hour.
FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0


def once_more(inbound: Inbound, answer: Answer) -> Message | None:
    """The same command, to come again later; None if its answer is to be told instead.

    It comes when the answer says, or after 1 s that doubles with every wait up to five minutes, a little scattered.
    """
    delivery, command = inbound.delivery, inbound.command
    if answer.outcome is not wire.Outcome.FAILED or answer.spent:
        return None
    told = str(delivery.headers.get(HEADER_WAITS) or "")
    waits = int(told) if told.isascii() and told.isdigit() and len(told) < 4 else 0
    pause_s = min(LONGEST_S, FIRST_S * 2 ** min(waits, 10))
    delay_s = max(answer.retry_after_s or 0.0, pause_s * (1.0 + 0.2 * random.random()))
    left_s = None if command.deadline is None else command.deadline / 1000 - time.time() - delay_s
    if waits >= WAITS_MAX or (left_s is not None and left_s <= 0):
        return None
    headers = {
        **carrying(inbound.trace),
        wire.HEADER_ANSWER: wire.ANSWER_DURABLE,
        HEADER_WAITS: str(waits + 1),
    }
    return Message(
        routing_key=command_queue(inbound.prefix, inbound.participant, undo=False),
        type=wire.COMMAND,
        body=delivery.body,
        correlation_id=command.saga,
        reply_to=inbound.reply_to,
        headers=headers,
        expiration_ms=None if left_s is None else max(1, int(left_s * 1000)),
        delay_s=delay_s,
    )
