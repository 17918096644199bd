"""One POST: sent within its time, to an allowed address, its answer read up to a limit. No redirect is followed.

Each call has a connection of its own. On one that was used before, what a confused service or proxy sent beyond its
last answer would be read as the answer to the next call: of another step, and of another saga.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpcore

from amends.participants.breaker import CircuitBreaker
from amends.participants.http.addresses import Deadline, GuardedNetwork
from amends.participants.http.declaration import Declaration
from amends.participants.http.errors import ServiceAway

_IN_TROUBLE: Final = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back. `body` is None if it is larger than the limit; then it was not read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class _Troubled(Exception):
    """Carries an answer that counts against the breaker past it."""

    def __init__(self, answered: Answered) -> None:
        super().__init__(f"answered {answered.status}")
        self.answered = answered


class Poster:
    """Posts to the hosts of one declaration. Thread-safe; holds no connection, so forks may share it."""

    def __init__(self, declaration: Declaration) -> None:
        """Reads `ca_file`. Raises: OSError if that cannot be read, ssl.SSLError if it holds no certificates."""
        self._networks = declaration.reachable()
        self._answer_bytes_max = declaration.answer_bytes_max
        self._tls = ssl.create_default_context(cafile=declaration.ca_file)
        self._declaration = declaration
        self._breakers: dict[str, CircuitBreaker] = {}
        self._lock = threading.Lock()

    def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, timeout_s: float
    ) -> Answered:
        """The answer, whatever its status, within `timeout_s` seconds altogether.

        Raises: ServiceAway, BreakerOpen, NotSetUp.
        """
        host = urlsplit(url).netloc
        try:
            with self._breaker(host):
                answered = self._ask(host, url, headers, body, timeout_s)
                if answered.status in _IN_TROUBLE:
                    raise _Troubled(answered)
                return answered
        except _Troubled as troubled:
            return troubled.answered

    def _ask(
        self, host: str, url: str, headers: Sequence[tuple[str, str]], body: bytes, timeout_s: float
    ) -> Answered:
        network = GuardedNetwork(self._networks, Deadline(timeout_s))
        each = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
        origin = httpcore.URL(url).origin
        try:
            with (
                httpcore.HTTPConnection(origin, ssl_context=self._tls, network_backend=network) as connection,
                connection.stream(
                    "POST",
                    url,
                    headers=[("Host", host), *headers, ("Connection", "close")],
                    content=body,
                    extensions={"timeout": each},
                ) as response,
            ):
                told = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return Answered(response.status, told, self._content(response))
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            # Not a byte of the request was sent: whatever became of it before, this attempt did nothing.
            raise ServiceAway(f"{host} cannot be reached: {_said(error)}", spent=False) from error
        except httpcore.TimeoutException as error:
            raise ServiceAway(f"{host} did not answer within {timeout_s:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise ServiceAway(f"{host} broke off: {_said(error)}") from error

    def _content(self, response: httpcore.Response) -> bytes | None:
        content = bytearray()
        for chunk in response.iter_stream():
            content += chunk
            if len(content) > self._answer_bytes_max:
                return None
        return bytes(content)

    def _breaker(self, host: str) -> CircuitBreaker:
        with self._lock:
            if host not in self._breakers:
                self._breakers[host] = CircuitBreaker(
                    f"{self._declaration.name} {host}",
                    failures=self._declaration.breaker_failures,
                    open_s=self._declaration.breaker_open_s,
                    counts=(ServiceAway, _Troubled),
                )
            return self._breakers[host]


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
