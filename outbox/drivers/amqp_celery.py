"""A Celery task's body in the JSON that Celery itself sends: kombu's, which marks dates, decimals and UUIDs as such."""

from __future__ import annotations

from typing import Any

from kombu.exceptions import EncodeError
from kombu.serialization import dumps


def task_body(body: tuple[Any, ...]) -> tuple[bytes, str, str]:
    """The bytes of a body, its content type and its encoding. Raises: ValueError for what is not JSON."""
    try:
        content_type, content_encoding, encoded = dumps(body, serializer="json")  # type: ignore[no-untyped-call,unused-ignore]
    except EncodeError as error:
        raise ValueError(str(error)) from error
    return encoded.encode() if isinstance(encoded, str) else encoded, content_type, content_encoding
