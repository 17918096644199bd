"""The signature of a request: HMAC-SHA256 over when it was made, where it goes, its idempotency key and its body.

    Amends-Signature: t=1767225600,v1=<hex>[,v1=<hex>]

One `v1` for each key, so that keys can rotate: give the adapter the new one beside the old, then the service, then
take the old one away. The target and the idempotency key are signed too: otherwise a `do` that somebody overheard
could be sent as an undo, or under another key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from amends.participants.http.errors import NotSetUp


def signature(keys: Sequence[bytes], *, at: int, target: str, idempotency_key: str, body: bytes) -> str:
    """The header's value. `at` is seconds since 1970, `target` the request's path with its query."""
    signed = f"{at}\n{target}\n{idempotency_key}\n".encode() + body
    return ",".join([f"t={at}", *(f"v1={hmac.new(key, signed, sha256).hexdigest()}" for key in keys)])


def secret_in(file: str) -> bytes:
    """What a secret's file holds, without the white space around it; read anew at each use, so that it may rotate.

    Raises: NotSetUp if it cannot be read, or is empty.
    """
    try:
        content = Path(file).read_bytes().strip()
    except OSError as error:
        raise NotSetUp(f"the secret in {file} cannot be read: {error.strerror}") from error
    if not content:
        raise NotSetUp(f"the secret in {file} is empty")
    return content


def header_in(file: str) -> str:
    """A secret that travels in a header. Raises: NotSetUp, also for one that no header can hold."""
    content = secret_in(file).decode("latin-1")
    if not (content.isascii() and content.isprintable()):
        raise NotSetUp(
            f"the secret in {file} holds what a header cannot: only visible ASCII characters on one line"
        )
    return content
