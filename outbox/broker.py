"""Where a broker URL becomes a `Broker`: the one place that knows which drivers there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.outbox.errors import UnsupportedBroker
from amends.outbox.ports import Broker

if TYPE_CHECKING:
    from amends.outbox.sealing import Seal

AMQP_SCHEMES = ("pyamqp", "amqp", "amqps", "pyamqps")
MEMORY_SCHEME = "memory"


def open_broker(url: str, *, name: str = "amends", seal: Seal | None = None) -> Broker:
    """The broker that `url` names; does no I/O.

    `pyamqp://`, `amqp://` and `amqps://` (TLS) are RabbitMQ; several hosts are given as several URLs with `;`
    between them. `memory://NAME` is a broker inside this process: the same NAME is the same broker.
    `name` is what RabbitMQ shows for our connections. With a `seal` messages are signed, their bodies coded, or both.

    Raises: UnsupportedBroker for another scheme, and for a URL that cannot be used.
    """
    broker = _driver(url, name)
    if seal is None:
        return broker
    from amends.outbox.sealing.broker import SealedBroker

    return SealedBroker(broker, seal)


def _driver(url: str, name: str) -> Broker:
    scheme, separator, rest = url.partition("://")
    if separator and scheme == MEMORY_SCHEME:
        from amends.outbox.drivers.memory import memory_broker

        return memory_broker(rest.strip("/") or "default")
    if separator and scheme in AMQP_SCHEMES:
        from amends.outbox.drivers.amqp import AmqpBroker
        from amends.outbox.drivers.amqp_url import parse_urls

        return AmqpBroker(parse_urls(url), name=name)
    known = ", ".join(f"{known}://" for known in (*AMQP_SCHEMES[:3], MEMORY_SCHEME))
    raise UnsupportedBroker(f"no driver for a broker URL that starts with {scheme[:20]!r}; known: {known}")
