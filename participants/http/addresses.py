"""Connections to allowed addresses only, and none that outlasts its call.

A name is resolved once for each connection, and what is connected to is the very address that was checked: a name
that answers another address a moment later (DNS rebinding) leads nowhere. Private, loopback and link-local addresses,
such as those of cloud metadata services, are not reached unless their network is declared.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import httpcore

from amends.participants.http.declaration import Network
from amends.participants.http.errors import NotSetUp

_NAT64: Final = ip_network("64:ff9b::/96")


class Deadline:
    """When one call must be over."""

    def __init__(self, timeout_s: float) -> None:
        self._until = time.monotonic() + timeout_s

    def left_s(self, timeout_s: float | None) -> float:
        """At most `timeout_s`, and at most what is left. Raises: httpcore.ReadTimeout if nothing is."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            # A timeout of ours, whatever it was that took so long: a service that drips is as bad as a silent one.
            raise httpcore.ReadTimeout("the time for the whole call is over")
        return left_s if timeout_s is None else min(timeout_s, left_s)


def allowed(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    """Whether it may be connected to: a public address, or one in these networks."""
    plain = _embedded(address)
    if any(address in network or plain in network for network in networks):
        return True
    return plain.is_global and not plain.is_multicast


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4 or NAT64; otherwise itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


class GuardedNetwork(httpcore.NetworkBackend):
    """What one call connects by."""

    def __init__(self, networks: Sequence[Network], deadline: Deadline) -> None:
        self._networks = networks
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first allowed address of `host` that answers.

        Raises: NotSetUp if none is allowed; httpcore.ConnectError, ConnectTimeout.
        """
        refused: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in self._addresses(host, port):
            try:
                stream = self._inner.connect_tcp(
                    address,
                    port,
                    timeout=self._deadline.left_s(timeout),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                refused = error
            else:
                return _LimitedStream(stream, self._deadline)
        raise refused or httpcore.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        # A link-local address may carry its interface after a %, which says nothing about whether it is allowed.
        known = list(dict.fromkeys(str(one[4][0]) for one in found))
        good = [one for one in known if allowed(ip_address(one.partition("%")[0]), self._networks)]
        if known and not good:
            raise NotSetUp(
                f"{host} is at {', '.join(known)}, which is not allowed; add its network to `networks` if that is meant"
            )
        return good


class _LimitedStream(httpcore.NetworkStream):
    """A connection whose every operation is over when the time of the whole call is."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As the inner one."""
        return self._inner.read(max_bytes, self._deadline.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As the inner one."""
        self._inner.write(buffer, self._deadline.left_s(timeout))

    def close(self) -> None:
        """Also when the time is over."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """As the inner one; the host's name is checked against its certificate, not the address."""
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left_s(timeout))
        return _LimitedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """As the inner one."""
        return self._inner.get_extra_info(info)
