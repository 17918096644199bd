"""What lists are filtered by, read from a request's query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from amends.coordinator.http.answers import Refusal
from amends.coordinator.http.requests import moment_of


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


def moment_or_none(field: str, text: str | None) -> datetime | None:
    """A time, or that of a duration ago. Raises: Refusal (422)."""
    if text is None:
        return None
    try:
        return moment_of(text, datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise Refusal(422, "invalid_request", f"{field}: {error}", field) from None
