"""JSON values as the pure package sees them, and their canonical text."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TypeAlias, Union

Json: TypeAlias = Union[None, bool, int, float, str, list["Json"], dict[str, "Json"]]  # noqa: UP007, RUF036 - recursive


def canonical(value: Json) -> str:
    """The one text of a JSON value: sorted keys, no spaces, UTF-8, no NaN.

    Raises: ValueError for NaN and infinities.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Json) -> str:
    """SHA-256 of the canonical text, in hex."""
    return sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()
