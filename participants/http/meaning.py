"""What an answer means for the saga: its status decides, its body is the result or the reason.

2xx            done, with the JSON of the body as the result; 202 is not done yet: asked again, under the same key
400 402 409 410 412 422    refused: a business no
408 425 429    failed: not now; the service says when (Retry-After)
401 403 404 405 407 415 421 426    failed, unspent: set up wrongly, here or there; somebody must mend it
3xx            failed: no redirect is followed, so nobody knows whether it happened
any other      failed
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import msgspec

from amends.participants.errors import Failed, Refused
from amends.participants.http.declaration import Verdict
from amends.participants.http.errors import NotSetUp
from amends.participants.http.posting import Answered

RETRY_AFTER_S_MAX: Final = 3600.0
_AGAIN_S: Final = 1.0
_REASON_CHARS_MAX: Final = 300
_NULL: Final = msgspec.Raw(b"null")

_REFUSED: Final = (400, 402, 409, 410, 412, 422)
_NOT_NOW: Final = (202, 425, 429, 503)
_SET_UP: Final = (401, 403, 404, 405, 407, 415, 421, 426)
# Where error answers of common frameworks say why.
_REASONS: Final = ("reason", "detail", "message", "error", "title")


def result_of(
    answered: Answered, host: str, statuses: Mapping[int, Verdict], result: Literal["json", "none"]
) -> msgspec.Raw:
    """The result of an answer that means done.

    Raises: Refused; with `certain=False` if it was done and its result cannot be told (O5). Failed and NotSetUp.
    """
    status = answered.status
    verdict = statuses.get(status)
    if verdict is None:
        verdict = _usual(status)
        if verdict == "failed" and status in _SET_UP:
            raise NotSetUp(f"{host} answered {status}: {_reason(answered)}")
    if verdict == "refused":
        raise Refused(_reason(answered))
    if verdict == "failed":
        why = f"it redirects to {answered.headers.get('location', 'nowhere')[:200]}; none is followed"
        raise Failed(
            f"{host} answered {status}: {why if 300 <= status < 400 else _reason(answered)}",
            retry_after_s=_retry_after_s(answered),
            spent=status not in _NOT_NOW,
        )
    return _NULL if result == "none" else _json(answered, host)


def _usual(status: int) -> Verdict:
    if 200 <= status < 300 and status != 202:
        return "done"
    return "refused" if status in _REFUSED else "failed"


def _json(answered: Answered, host: str) -> msgspec.Raw:
    if answered.body is None:
        # It was done, and cannot be taken back by not telling: a permanent failure that is compensated.
        raise Refused(f"result_too_large: {host} answered more than the limit", certain=False)
    if not answered.body.strip():
        return _NULL
    try:
        msgspec.json.decode(answered.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Perhaps a proxy's page and not the service at all: not to be taken for done.
        raise Failed(f"{host} answered {answered.status} with a body that is no JSON: {error}") from error
    return msgspec.Raw(answered.body)


def _reason(answered: Answered) -> str:
    """Why, in the service's own words if it says so in JSON; otherwise its status."""
    try:
        told = msgspec.json.decode(answered.body or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = None
    if isinstance(told, dict):
        for name in _REASONS:
            if isinstance(told.get(name), str) and told[name]:
                return str(told[name])[:_REASON_CHARS_MAX]
    return f"status {answered.status}"


def _retry_after_s(answered: Answered) -> float | None:
    """Seconds, at most an hour: a service's mistake must not stop a saga for days."""
    told = answered.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told[:10]), RETRY_AFTER_S_MAX)
    try:
        moment = parsedate_to_datetime(told)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), RETRY_AFTER_S_MAX)
    except (ValueError, OverflowError):
        return _AGAIN_S if answered.status in _NOT_NOW else None
