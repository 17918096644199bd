"""The hook for bodies: encryption, or a claim check that leaves the bulk elsewhere."""

from __future__ import annotations

from typing import Final, Protocol

from amends.outbox.errors import OutboxError

HEADER_CODEC: Final = "amends-codec"


class CodecUnavailable(OutboxError):
    """What a codec needs cannot be reached now: messages wait, and are tried again."""


class Codec(Protocol):
    """Codes the bodies of amends' own messages and of domain events on their way. Called by several threads.

    `name` travels with each message in the header `amends-codec`: who reads it must have a codec of this name. Give a
    codec whose format has changed another name, and let it decode the older ones (`decodes`).
    """

    @property
    def name(self) -> str:
        """Up to 40 letters, digits, . _ -"""

    @property
    def decodes(self) -> frozenset[str]:
        """The names whose bodies `decode` understands."""

    def encode(self, body: bytes) -> bytes:
        """The body as it travels. Raises: CodecUnavailable; anything else is the message's own fault, and parks it."""

    def decode(self, name: str, body: bytes) -> bytes:
        """The body as it was, coded by the codec of this name.

        Raises: CodecUnavailable; anything else puts the message to the dead letters.
        """
