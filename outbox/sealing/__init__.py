"""What is done to messages between an outbox and the wire, where a team asks for it: signed, and their bodies coded.

A `Seal` is given to `open_broker`; without one nothing of this is loaded, and messages cost what they did.
"""

from __future__ import annotations

from amends.outbox.sealing.codec import Codec, CodecUnavailable
from amends.outbox.sealing.seal import Seal
from amends.outbox.sealing.signing import SigningKeys

__all__ = ["Codec", "CodecUnavailable", "Seal", "SigningKeys"]
