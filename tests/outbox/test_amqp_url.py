"""Broker URLs: what is read from them, and what is refused."""

from __future__ import annotations

import pytest

from amends.outbox.broker import open_broker
from amends.outbox.drivers.amqp_url import Address, Tls, parse_urls
from amends.outbox.errors import UnsupportedBroker


def test_a_full_url_is_read() -> None:
    (address,) = parse_urls("pyamqp://shop:s%40crt%2F1@rabbit.example:5673/orders%2Feu")

    assert address == Address("rabbit.example", 5673, "shop", "s@crt/1", "orders/eu")


@pytest.mark.parametrize("end", ["", "/", "//", "/%2F"])
def test_without_a_virtual_host_it_is_the_default_one(end: str) -> None:
    (address,) = parse_urls(f"amqp://u:p@host{end}")

    assert (address.virtual_host, address.port, address.tls) == ("/", 5672, None)


def test_tls_has_its_port_and_its_certificates() -> None:
    (address,) = parse_urls("amqps://u:p@host?cacertfile=/etc/ca.pem&certfile=/c.pem&keyfile=/k.pem")

    assert (address.port, address.tls) == (5671, Tls("/etc/ca.pem", "/c.pem", "/k.pem"))


def test_several_hosts_keep_their_order() -> None:
    assert [str(one) for one in parse_urls("pyamqp://u:p@a;pyamqp://u:p@b:5673")] == ["a:5672", "b:5673"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_on_this_machine_nobody_in_particular_is_guest(host: str) -> None:
    (address,) = parse_urls(f"pyamqp://{host}")

    assert (address.user, address.password) == ("guest", "guest")


@pytest.mark.parametrize("credentials", ["", "shop@", "shop:@", ":s3cret@"])
def test_elsewhere_user_and_password_are_required(credentials: str) -> None:
    """kombu would fall back to guest."""
    with pytest.raises(UnsupportedBroker, match="no user and password for the broker at rabbit") as refusal:
        open_broker(f"pyamqp://{credentials}rabbit/")

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://localhost", "redis"),
        ("localhost:5672", "localhost:5672"),
        ("pyamqp://", "without a host"),
        ("pyamqp://u:p@host:port", "cannot be read"),
        ("amqps://u:p@host?verify=verify_none", "unknown option 'verify'"),
        ("amqp://u:p@host?cacertfile=/ca.pem", "needs TLS"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(UnsupportedBroker, match=why):
        open_broker(url)


def test_an_address_does_not_show_its_password() -> None:
    (address,) = parse_urls("pyamqp://shop:s3cret@rabbit/")

    assert "s3cret" not in f"{address} {address!r}"
