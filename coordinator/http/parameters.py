"""What lists are filtered by, read from a request's query."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.requests import moment_of
from amends.coordinator.records import Position


def labels_of(pairs: Sequence[str]) -> dict[str, str]:
    """The labels of a list's filter. Raises: Refusal (422)."""
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise Refusal(422, "invalid_request", "label: must be name=value", "label")
        labels[name] = value
    return {plain("label", name) or "": plain("label", value) or "" for name, value in labels.items()}


def plain(field: str, text: str | None) -> str | None:
    """A text that PostgreSQL can hold. Raises: Refusal (422)."""
    if text is not None and "\x00" in text:
        raise Refusal(422, "invalid_request", f"{field}: must not contain NUL characters", field)
    return text


def moment_or_none(field: str, text: str | None) -> datetime | timedelta | None:
    """A time, or how long ago. Raises: Refusal (422)."""
    if text is None:
        return None
    try:
        return moment_of(text)
    except (ValueError, OverflowError) as error:
        raise Refusal(422, "invalid_request", f"{field}: {error}", field) from None


def cursor_of(position: Position) -> str:
    """Where a page of sagas ended, as a request gives it back."""
    text = json.dumps([position.created_at.astimezone(UTC).isoformat(), position.id])
    return base64.urlsafe_b64encode(text.encode()).decode()


def position_of(cursor: str | None) -> Position | None:
    """Where the page before ended; None for the first. Raises: Refusal for what no page has given."""
    if cursor is None:
        return None
    try:
        at, saga_id = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        return Position(datetime.fromisoformat(at), str(UUID(saga_id)))
    except (binascii.Error, ValueError, TypeError, AttributeError):
        message = "cursor: must be the `next` of a page of this list"
        raise Refusal(422, "invalid_request", message, "cursor") from None
