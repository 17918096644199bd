"""Who may come in: every request but the open ones tells a token's secret, before its body is read.

`/healthz`, `/readyz`, `/metrics` and the OpenAPI page are open: probes and scrapers have no secrets, and
nothing there tells of a payload.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from amends.coordinator.http.answers import Refusal, say_no
from amends.coordinator.http.tokens import LOCAL, Caller, Role, Tokens

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Access:
    """ASGI middleware that finds out who asks and keeps it in the request's state as `caller`."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = self._by_secret(headers) if self._tokens else self._by_place(headers)
        if isinstance(caller, Caller):
            scope.setdefault("state", {})["caller"] = caller
            await self._app(scope, receive, send)
            return
        challenge = {"WWW-Authenticate": "Bearer", "Connection": "close"}
        await say_no(401, "unauthorized", caller, "Authorization", challenge)(scope, receive, send)

    def _by_secret(self, headers: Headers) -> Caller | str:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            return "a token is wanted: send `Authorization: Bearer <secret>` (the commands take AMENDS_TOKEN)"
        return self._tokens.caller(secret.strip()) or "no token of AMENDS_TOKENS has this secret"

    @staticmethod
    def _by_place(headers: Headers) -> Caller | str:
        # A web page can point its own name at 127.0.0.1; the browser then still says the page's name.
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if host in LOOPBACK_NAMES or headers.get("host") in LOOPBACK_NAMES:
            return LOCAL
        return "without tokens only this machine may ask, by the name localhost or 127.0.0.1"


_bearer = HTTPBearer(auto_error=False, description="A secret of AMENDS_TOKENS.")


def needs(role: Role) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose token must have at least this role."""

    async def check(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None
    ) -> Caller:
        caller: Caller = request.state.caller
        if caller.role < role:
            message = f"token {caller.name!r} has the role {caller.role.word}; this needs {role.word}"
            raise Refusal(403, "forbidden", message, "Authorization")
        return caller

    return check


Reader = Annotated[Caller, Depends(needs(Role.READ))]
Starter = Annotated[Caller, Depends(needs(Role.START))]
Applier = Annotated[Caller, Depends(needs(Role.APPLY))]
Operator = Annotated[Caller, Depends(needs(Role.OPERATE))]
