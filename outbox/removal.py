"""Taking queues and exchanges away again: for prefixes that lived for one run."""

from __future__ import annotations

from amends.outbox.broker import MEMORY_SCHEME, open_broker
from amends.outbox.ports import Topology


def remove(url: str, topology: Topology) -> dict[str, int]:
    """Delete these queues and exchanges, with what they hold; tells how many messages each queue still held.

    What does not exist counts as empty. Raises: BrokerUnavailable; UnsupportedBroker.
    """
    open_broker(url)  # It knows which URLs can be used.
    scheme, _, rest = url.partition("://")
    if scheme == MEMORY_SCHEME:
        from amends.outbox.drivers.memory import memory_broker

        broker = memory_broker(rest.strip("/") or "default")
        with broker.lock:
            broker.exchanges -= topology.exchanges
            queues = {name: broker.queues.pop(name, None) for name in sorted(topology.queues)}
            return {name: len(queue.ready) if queue is not None else 0 for name, queue in queues.items()}
    from amends.outbox.drivers.amqp_removal import remove_from
    from amends.outbox.drivers.amqp_url import parse_urls

    return remove_from(parse_urls(url), topology)
