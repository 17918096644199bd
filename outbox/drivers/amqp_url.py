"""Where RabbitMQ is and who we are there, read from a URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from amends.outbox.errors import UnsupportedBroker

PORT: Final = 5672
PORT_TLS: Final = 5671
SCHEMES_TLS: Final = frozenset({"amqps", "pyamqps"})
GUEST: Final = "guest"
OPTIONS: Final = ("cacertfile", "certfile", "keyfile")  # named as in RabbitMQ's own URI query parameters


@dataclass(frozen=True, slots=True)
class Tls:
    """The certificate and the host name of the server are always checked.

    `cacertfile`: whom to trust, None for the system's store. `certfile`, `keyfile`: our own certificate.
    """

    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """One RabbitMQ host."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_urls(urls: str) -> tuple[Address, ...]:
    """The hosts in `URL` or `URL;URL...`, to be tried in this order.

    Without user and password a host on this machine is entered as guest, as RabbitMQ allows; elsewhere they
    are required. Raises: UnsupportedBroker, which never repeats a password.
    """
    return tuple(_parse(url.strip()) for url in urls.split(";") if url.strip())


def _parse(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UnsupportedBroker(f"a broker URL that cannot be read: {error}") from error
    if not parts.hostname:
        raise UnsupportedBroker(
            f"a broker URL without a host; write {parts.scheme}://USER:PASSWORD@HOST/VHOST"
        )
    with_tls = parts.scheme in SCHEMES_TLS
    user, password = _credentials(parts)
    return Address(
        host=parts.hostname,
        port=port or (PORT_TLS if with_tls else PORT),
        user=user,
        password=password,
        virtual_host=unquote(parts.path[1:]) or "/",
        tls=_tls(parts, with_tls),
    )


def _credentials(parts: SplitResult) -> tuple[str, str]:
    if parts.username and parts.password:
        return unquote(parts.username), unquote(parts.password)
    if not parts.username and not parts.password and _is_loopback(parts.hostname or ""):
        return GUEST, GUEST
    raise UnsupportedBroker(
        f"no user and password for the broker at {parts.hostname}; write "
        f"{parts.scheme}://USER:PASSWORD@{parts.hostname}/VHOST (only on localhost is guest assumed)"
    )


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _tls(parts: SplitResult, with_tls: bool) -> Tls | None:
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise UnsupportedBroker(f"unknown option {unknown[0]!r} in a broker URL; known: {', '.join(OPTIONS)}")
    if not with_tls:
        if options:
            raise UnsupportedBroker(f"option {min(options)!r} needs TLS; write amqps://{parts.hostname}...")
        return None
    return Tls(**options)
