"""Deleting queues and exchanges on RabbitMQ."""

from __future__ import annotations

from collections.abc import Sequence

from amends.outbox.drivers.amqp_link import BROKEN, Limits, connect, describe
from amends.outbox.drivers.amqp_url import Address
from amends.outbox.drivers.wakeup import Wakeup
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Topology


def remove_from(addresses: Sequence[Address], topology: Topology) -> dict[str, int]:
    """Delete them on one connection; tells how many messages each queue held. Raises: BrokerUnavailable."""
    wakeup = Wakeup()
    try:
        link = connect(addresses, Limits(), "amends removal", wakeup.open())
        try:
            channel = link.channel()
            held = {}
            for name in sorted(topology.queues):
                with link.answering():
                    held[name] = int(channel.queue_delete(name) or 0)
            for name in sorted(topology.exchanges):
                with link.answering():
                    channel.exchange_delete(name)
            return held
        except BROKEN as error:
            raise BrokerUnavailable(
                f"the broker broke off while queues were deleted: {describe(error)}"
            ) from error
        finally:
            link.close()
    finally:
        wakeup.close()
