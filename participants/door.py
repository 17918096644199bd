"""Requests to the coordinator's HTTP door, and what its answers mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from amends.participants.errors import (
    CoordinatorRefused,
    CoordinatorUnavailable,
    InvalidInput,
    ParticipantError,
    SagaSuspended,
    StartConflict,
    UnknownSaga,
)

_FIRST_S: Final = 0.1
_LONGEST_S: Final = 2.0
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_NOT_STORED: Final = ("database_unavailable", "not_accepting")


class _Untouched(CoordinatorUnavailable):
    """The coordinator did certainly nothing, so that any request may be repeated."""


class Door:
    """One coordinator's door, and the token to it."""

    def __init__(
        self, url: str, token: str | None, service: str, *, timeout_s: float, retry_s: float
    ) -> None:
        """Raises: InvalidInput for a URL that is none."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise InvalidInput(
                f"{url!r} is no URL of a coordinator; give something like http://127.0.0.1:8080"
            )
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"amends-client ({service})",
        }
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def __repr__(self) -> str:
        """Without the token."""
        return f"Door({self._url!r})"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        longer_s: float = 0.0,
    ) -> bytes:
        """The body of the answer. The request may take the client's timeout and `longer_s`.

        It is tried again while the coordinator cannot be reached, if it is `repeatable` or if nothing happened.

        Raises: StartConflict, SagaSuspended, UnknownSaga, CoordinatorRefused; CoordinatorUnavailable once that lasts
        too long.
        """
        request = Request(
            self._url + path, data=body, headers={**self._headers, **(headers or {})}, method=method
        )
        try:
            for attempt in Retrying(
                stop=stop_after_delay(self._retry_s), wait=_waits(), retry=_retries(repeatable), reraise=True
            ):
                with attempt:
                    return self._ask_once(request, self._timeout_s + longer_s)
        except _Untouched as error:  # A name of ours alone would puzzle whoever reads the traceback.
            raise CoordinatorUnavailable(str(error)) from error.__cause__
        raise AssertionError("tenacity gives at least one attempt")

    async def aask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        longer_s: float = 0.0,
    ) -> bytes:
        """As `ask`, without blocking the event loop. Cancelled, it leaves open whether the request was served."""
        sent = {**self._headers, **(headers or {})}
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_delay(self._retry_s), wait=_waits(), retry=_retries(repeatable), reraise=True
            ):
                with attempt:
                    return await self._aask_once(method, path, sent, body, self._timeout_s + longer_s)
        except _Untouched as error:
            raise CoordinatorUnavailable(str(error)) from error.__cause__
        raise AssertionError("tenacity gives at least one attempt")

    def _ask_once(self, request: Request, timeout_s: float) -> bytes:
        try:
            with urlopen(request, timeout=timeout_s) as answer:
                content: bytes = answer.read(_ANSWER_BYTES_MAX)
                return content
        except HTTPError as error:
            with error:
                raise _meaning(error.code, error.read(_ANSWER_BYTES_MAX)) from None
        except URLError as error:
            kind = _Untouched if isinstance(error.reason, ConnectionRefusedError) else CoordinatorUnavailable
            raise kind(f"the coordinator at {self._url} cannot be reached: {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise CoordinatorUnavailable(f"the coordinator at {self._url} broke off: {error}") from error

    async def _aask_once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> bytes:
        from amends.participants.asyncio.exchange import exchange

        try:
            async with asyncio.timeout(timeout_s):
                status, content = await exchange(method, self._url + path, headers, body)
        except ConnectionRefusedError as error:
            raise _Untouched(f"the coordinator at {self._url} cannot be reached: {error}") from error
        except (OSError, HTTPException) as error:
            told = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else error
            raise CoordinatorUnavailable(f"the coordinator at {self._url} broke off: {told}") from error
        if not 200 <= status < 300:
            raise _meaning(status, content)
        return content


def _waits() -> wait_random_exponential:
    return wait_random_exponential(multiplier=_FIRST_S, max=_LONGEST_S)


def _retries(repeatable: bool) -> Callable[[RetryCallState], bool]:
    def again(error: BaseException) -> bool:
        return isinstance(error, _Untouched) or (repeatable and isinstance(error, CoordinatorUnavailable))

    return retry_if_exception(again)


def _meaning(status: int, body: bytes) -> ParticipantError:
    """What an error answer means: the door's are `{"error": code, "message": ..., "field": ...}`."""
    try:
        problem = json.loads(body)
        code, message = str(problem["error"]), str(problem["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "", body[:200].decode("utf-8", "replace")
    if code == "key_conflict":
        return StartConflict("", message)
    if code == "suspended":
        return SagaSuspended(message)
    if code == "invalid_input":
        return InvalidInput(message)
    if code in ("unknown_saga", "unknown_definition"):
        return UnknownSaga(message)
    if status in (502, 503, 504) or status == 408:
        kind = _Untouched if code in _NOT_STORED else CoordinatorUnavailable
        return kind(f"the coordinator answered {status}: {message}")
    return CoordinatorRefused(status, message)
