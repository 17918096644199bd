"""Limits on what a request may carry, kept before anything looks at it.

A body over the size is refused while it arrives; one that is no JSON, nests too deep or has too many values
is refused before a model is built from it, and the answer names the place.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amends.coordinator.http.answers import say_no

_decode = msgspec.json.Decoder().decode
_CLOSE: Final = {"Connection": "close"}  # The rest of the body is still on its way.
_WITH_BODY: Final = ("POST", "PUT", "PATCH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one request may carry. Every object, list, string, number, true, false and null is a value."""

    body_bytes_max: int = 1_048_576
    body_seconds_max: float = 30.0
    depth_max: int = 32
    values_max: int = 20_000


class TooMuch(Exception):
    """A body over a limit. `field` is the path of the first value at fault."""

    def __init__(self, error: str, message: str, field: str) -> None:
        super().__init__(message)
        self.error = error
        self.field = field


def check_shape(value: object, limits: Limits) -> None:
    """Walk a JSON value without recursion. Raises: TooMuch if it nests too deep or has too many values."""
    found = 1
    waiting: list[tuple[str, int, object]] = [("", 1, value)]
    while waiting:
        path, depth, one = waiting.pop()
        if not isinstance(one, dict | list):
            continue
        if depth > limits.depth_max:
            raise TooMuch("too_deep", f"nests deeper than {limits.depth_max} levels", path or "body")
        found += len(one)
        if found > limits.values_max:
            raise TooMuch("too_many_values", f"takes it over {limits.values_max:,} values", path or "body")
        if isinstance(one, dict):
            waiting.extend((f"{path}.{key}" if path else key, depth + 1, inner) for key, inner in one.items())
        else:
            waiting.extend((f"{path}[{index}]", depth + 1, inner) for index, inner in enumerate(one))


class LimitBody:
    """ASGI middleware that reads a request's body within the limits, then hands it on whole."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        if not _is_json(scope):
            # A form that a web page sends without asking first must not act on a door without tokens.
            message = "send JSON, with the header Content-Type: application/json"
            await say_no(415, "not_json", message, "Content-Type")(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.body_seconds_max):
                body = await self._read(scope, receive)
        except TimeoutError:
            await say_no(408, "too_slow", "the body did not arrive in time", "body", _CLOSE)(
                scope, receive, send
            )
            return
        if body is None:
            message = f"the body has more than {self._limits.body_bytes_max:,} bytes"
            await say_no(413, "too_large", message, "body", _CLOSE)(scope, receive, send)
            return
        try:
            check_shape(_decode(body), self._limits)
        except TooMuch as error:
            await say_no(422, error.error, f"{error.field[:200]} {error}", error.field)(scope, receive, send)
        except RecursionError:
            message = f"the body nests deeper than {self._limits.depth_max} levels"
            await say_no(422, "too_deep", message, "body")(scope, receive, send)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problem = (
                f"is no JSON: {error}"
                if body
                else "is empty: send JSON; `null` where there is nothing to say"
            )
            await say_no(400, "malformed_json", f"the body {problem}", "body")(scope, receive, send)
        else:
            await self._app(scope, _Replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None if it is over the limit (as announced, or as it arrives)."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limits.body_bytes_max:
            return None
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limits.body_bytes_max:
                return None
        return bytes(body)


class _Replay:
    """Gives the body that was read, once, then whatever the client still says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """The next message of the request."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _is_json(scope: Scope) -> bool:
    content_type: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return content_type.partition(b";")[0].strip().lower() == b"application/json"
