"""TLS to RabbitMQ: certificate and host name are checked, and nothing gets stuck between two layers of buffers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kombu.utils.url import parse_url

from amends.outbox.broker import open_broker
from amends.outbox.drivers.amqp import AmqpBroker
from amends.outbox.drivers.amqp_url import parse_urls
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.ports import Broker, Fate, Topology
from tests.outbox.driving import fates, message, outgoing, received, settlements
from tests.outbox.proxy import Proxy

if TYPE_CHECKING:
    from tests.servers.rabbit import RabbitServer

CERTIFICATES = Path(__file__).parent / "tls"
TlsBroker = Callable[..., Broker]


@pytest.fixture
def tls_broker(rabbit: RabbitServer) -> Iterator[TlsBroker]:
    """`tls_broker(certificate, host)`: RabbitMQ behind TLS with that certificate, addressed by that name."""
    server = parse_url(rabbit.url)
    with ExitStack() as proxies:

        def opened(
            certificate: str = "localhost", host: str = "localhost", options: str | None = None
        ) -> Broker:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / f"{certificate}.pem")
            proxy = proxies.enter_context(Proxy(server["hostname"], server["port"], tls=context))
            options = f"?cacertfile={CERTIFICATES / 'ca.pem'}" if options is None else options
            user, password = server["userid"], server["password"]
            vhost = (server["virtual_host"] or "/").replace("/", "%2F")
            return open_broker(f"amqps://{user}:{password}@{host}:{proxy.port}/{vhost}{options}")

        yield opened


def test_messages_of_all_sizes_pass_through_tls(tls_broker: TlsBroker, prefix: str) -> None:
    broker = tls_broker()
    queue = f"{prefix}.queue"
    consumer, publisher = broker.consumer([queue], prefetch=1_000), broker.publisher()
    bodies = [
        bytes([number]) * size for number, size in enumerate((1, 16_383, 16_384, 16_385, 700_000, 3) * 20)
    ]

    publisher.publish(outgoing([message(queue, body) for body in bodies]))

    assert [one.body for one in received(consumer, len(bodies))] == bodies
    assert set(fates(settlements(publisher, len(bodies))).values()) == {Fate.CONFIRMED}
    consumer.close()
    publisher.close()


def test_a_certificate_for_another_host_is_refused(tls_broker: TlsBroker) -> None:
    """Fails without `server_hostname` in `amqp_link._ssl_options`: py-amqp checks the name only if told one."""
    publisher = tls_broker(certificate="elsewhere.example").publisher()

    with pytest.raises(BrokerUnavailable, match=r"(?i)hostname mismatch"):
        publisher.settled(0)


def test_an_authority_that_is_not_trusted_is_refused(tls_broker: TlsBroker) -> None:
    publisher = tls_broker(options="").publisher()

    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        publisher.settled(0)


def test_a_missing_authority_file_is_told(tls_broker: TlsBroker) -> None:
    publisher = tls_broker(options="?cacertfile=/nowhere/ca.pem").publisher()

    with pytest.raises(BrokerUnavailable, match="No such file"):
        publisher.settled(0)


def test_a_server_without_tls_is_refused(rabbit: RabbitServer) -> None:
    server = parse_url(rabbit.url)
    broker = AmqpBroker(
        parse_urls(f"amqps://guest:guest@{server['hostname']}:{server['port']}"), name="amends"
    )
    broker.declare(Topology(queues=frozenset({"never-declared"})))

    with pytest.raises(BrokerUnavailable):
        broker.publisher().settled(0)
