"""The payment gateway, as its customers call it: over HTTP, behind a breaker that opens when it is down."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from amends.participants import CircuitBreaker, Failed, Refused

TIMEOUT_S: Final = 2.0
PAYMENT_REQUIRED: Final = 402

# Three failures in a row, and for a second nobody calls; then one tries. Refused is an answer, not a failure.
breaker = CircuitBreaker("gateway", failures=3, open_s=1.0)


def charge(card: str, cents: int, *, key: str) -> None:
    """Take the money, once for a key. Raises: Refused, Failed, BreakerOpen."""
    _ask("POST", "/charges", {"card": card, "cents": cents, "key": key})


def void(*, key: str) -> None:
    """Give back what was charged under a key, and let nothing be charged under it. Raises: as `charge`."""
    _ask("POST", "/voids", {"key": key})


def total() -> int:
    """The cents that stand. Raises: as `charge`."""
    return int(_ask("GET", "/total", None)["cents"])


@breaker
def _ask(method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    where = urlsplit(settings.GATEWAY_URL)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, json.dumps(body))
        answer = connection.getresponse()
        said: dict[str, Any] = json.loads(answer.read() or b"{}")
    except OSError as error:
        raise Failed(f"the gateway cannot be reached: {error}") from error
    finally:
        connection.close()
    if answer.status == PAYMENT_REQUIRED:
        raise Refused(said["reason"])
    if answer.status >= 300:
        raise Failed(f"the gateway answers {answer.status}")
    return said
