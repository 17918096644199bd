"""Signatures of messages: HMAC-SHA256 over everything that decides what a message does, under keys that rotate.

    amends-signature: <key id>:<base64 of the HMAC>
    amends-signed-to: the queue, of a message to the default exchange

What is signed is a JSON array in UTF-8 without spaces: the text "amends-1", the message's type, message id, correlation
id, reply-to, content type, content encoding, its headers that begin with "amends-" (as an object, keys sorted, without
the signature), and the SHA-256 of the body in hex. `traceparent` may be changed on the way.
"""

from __future__ import annotations

import binascii
import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from amends.outbox.errors import InvalidSigningKeys

HEADER_SIGNATURE: Final = "amends-signature"
HEADER_SIGNED_TO: Final = "amends-signed-to"
KEY_BYTES_MIN: Final = 16

_VERSION: Final = "amends-1"
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class SigningKeys:
    """Keys by id. The first signs, all of them verify: so a new key is made known everywhere before it signs."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Raises: InvalidSigningKeys without a key, for a short one and for an id of other characters."""
        if not keys:
            raise InvalidSigningKeys("there is no key")
        for id_, key in keys.items():
            if not _ID.fullmatch(id_):
                raise InvalidSigningKeys("a key's id has 1 to 40 letters, digits, and . _ -")
            if len(key) < KEY_BYTES_MIN:
                raise InvalidSigningKeys(
                    f"key {id_!r} has {len(key)} bytes; it needs at least {KEY_BYTES_MIN}"
                )
        self._keys = dict(keys)
        self._signs = next(iter(keys))

    def __repr__(self) -> str:
        """The ids, never a key."""
        return f"SigningKeys({', '.join(self._keys)})"

    @classmethod
    def parse(cls, text: str) -> SigningKeys:
        """Keys as settings have them: `new=BASE64,old=BASE64`; the first signs. Raises: InvalidSigningKeys."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(filter(None, (one.strip() for one in text.split(","))), 1):
            id_, equals, secret = entry.partition("=")
            try:
                keys[id_.strip()] = b64decode(secret.strip(), validate=True)
            except (binascii.Error, ValueError):
                raise InvalidSigningKeys(f"entry {number} is not ID=BASE64") from None
            if not equals:
                raise InvalidSigningKeys(f"entry {number} is not ID=BASE64")
        return cls(keys)

    def sign(self, content: bytes) -> str:
        """The value of the signature's header."""
        return f"{self._signs}:{b64encode(self._hmac(self._signs, content)).decode()}"

    def problem(self, signature: str, content: bytes) -> str | None:
        """What is wrong with a signature of this content; None if nothing is."""
        id_, _, given = signature.partition(":")
        if id_ not in self._keys:
            return "signed with a key that is not known here"
        try:
            told = b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return "a signature that cannot be read"
        return None if hmac.compare_digest(told, self._hmac(id_, content)) else "the signature does not fit"

    def _hmac(self, id_: str, content: bytes) -> bytes:
        return hmac.digest(self._keys[id_], content, "sha256")


def signed_content(
    type_: str,
    message_id: str,
    correlation_id: str | None,
    reply_to: str | None,
    content_type: str,
    content_encoding: str,
    headers: Mapping[str, object],
    body: bytes,
) -> bytes:
    """What a signature stands for, see above."""
    ours = {
        name: value
        for name, value in sorted(headers.items())
        if name.startswith("amends-") and name != HEADER_SIGNATURE
    }
    fields = [
        _VERSION,
        type_,
        message_id,
        correlation_id or "",
        reply_to or "",
        content_type,
        content_encoding,
    ]
    return json.dumps(
        [*fields, ours, sha256(body).hexdigest()], ensure_ascii=False, separators=(",", ":"), default=str
    ).encode("utf-8", "surrogatepass")
