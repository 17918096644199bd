"""Looking at queues on RabbitMQ: a passive declaration tells who consumes, and what nobody has taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import amqp

from amends.outbox.drivers.amqp_link import BROKEN, Limits, Link, connect, describe
from amends.outbox.drivers.amqp_url import Address
from amends.outbox.drivers.wakeup import Wakeup
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import QueueState


def look_at(
    addresses: Sequence[Address], queues: Collection[str], *, limits: Limits, name: str, timeout_s: float
) -> dict[str, QueueState | None]:
    """The state of each queue, on a connection of its own. Raises: BrokerUnavailable."""
    patience = replace(limits, connect_s=timeout_s, answer_s=timeout_s)
    wakeup = Wakeup()
    try:
        link = connect(addresses, patience, name, wakeup.open())
        try:
            return {queue: _state(link, queue) for queue in sorted(queues)}
        except BROKEN as error:
            raise BrokerUnavailable(
                f"the broker broke off while it was asked for queues: {describe(error)}"
            ) from error
        finally:
            link.close()
    finally:
        wakeup.close()


def _state(link: Link, queue: str) -> QueueState | None:
    # A queue that is not there costs the channel, so each is asked on a channel of its own.
    channel = link.channel()
    try:
        with link.answering(f"looking at the queue {queue!r}"):
            found = channel.queue_declare(queue, passive=True)
    except amqp.NotFound:
        return None
    with link.answering("closing a channel"):
        channel.close()
    return QueueState(consumers=int(found.consumer_count), ready=int(found.message_count))
