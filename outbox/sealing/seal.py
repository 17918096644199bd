"""A seal: what is done to a message before it is published, and checked and undone when it arrives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from amends.outbox.dead_letters import HEADER_FAULT
from amends.outbox.message import HEADER_CONTENT_ENCODING, NOT_HEADERS, HeaderValue, Message
from amends.outbox.ports import Delivery
from amends.outbox.sealing.codec import HEADER_CODEC, Codec, CodecUnavailable
from amends.outbox.sealing.signing import HEADER_SIGNATURE, HEADER_SIGNED_TO, SigningKeys, signed_content

# Every reader refuses such an encoding, also one that does not ask for the fault.
UNSEALED: Final = "x-amends-unsealed"
_EVENTS: Final = "application/cloudevents+json"


class CannotSeal(Exception):
    """A message's own fault: its body cannot be coded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Keys, a codec, or both.

    `unsigned` says what becomes of messages without a signature: `refuse` puts them to the dead letters, `accept` takes
    them, for the days in which not everybody signs yet. A signature that does not fit is refused in any case.
    """

    keys: SigningKeys | None = None
    codec: Codec | None = None
    accept_unsigned: bool = False

    def closed(self, message: Message) -> Message:
        """The message as it travels. Raises: CodecUnavailable, CannotSeal."""
        headers = dict(message.headers)
        body = message.body
        # What was refused before it was decoded is coded already: its dead letter, and what goes back of it.
        if (
            self.codec is not None
            and HEADER_CODEC not in headers
            and _is_ours(message.type, message.content_type)
        ):
            body = self._encoded(self.codec, body)
            headers[HEADER_CODEC] = self.codec.name
        if self.keys is not None:
            if not message.exchange:
                headers[HEADER_SIGNED_TO] = message.routing_key
            content = signed_content(
                message.type,
                message.message_id,
                message.correlation_id,
                message.reply_to,
                message.content_type,
                str(message.headers.get(HEADER_CONTENT_ENCODING) or ""),
                _travelling(headers),
                body,
            )
            headers[HEADER_SIGNATURE] = self.keys.sign(content)
        return replace(message, headers=headers, body=body)

    def opened(self, delivery: Delivery) -> Delivery:
        """The delivery as it was sent; with a `fault` if it must not be believed. Raises: CodecUnavailable."""
        fault = None if self.keys is None else self._signature_fault(self.keys, delivery)
        if fault is not None:
            return _refused(delivery, fault)
        if HEADER_FAULT in delivery.headers:
            # A dead letter that must not be believed: its body stays as it came, whatever that is.
            return msgspec.structs.replace(
                delivery, headers=_without(delivery.headers, HEADER_SIGNATURE, HEADER_SIGNED_TO)
            )
        coded = delivery.headers.get(HEADER_CODEC)
        headers = _without(delivery.headers, HEADER_SIGNATURE, HEADER_SIGNED_TO, HEADER_CODEC)
        delivery = msgspec.structs.replace(delivery, headers=headers)
        if coded is None:
            return delivery
        if self.codec is None or coded not in self.codec.decodes:
            return _refused(delivery, f"coded by {str(coded)[:40]!r}, which is not known here")
        try:
            body = self.codec.decode(str(coded), delivery.body)
        except CodecUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - Whatever a team's codec raises, the message is put aside.
            return _refused(delivery, f"its codec cannot read it ({type(error).__name__})")
        return msgspec.structs.replace(delivery, body=body, size_bytes=len(body))

    def _signature_fault(self, keys: SigningKeys, delivery: Delivery) -> str | None:
        signature = delivery.headers.get(HEADER_SIGNATURE)
        if signature is None:
            return None if self.accept_unsigned else "no signature"
        if not isinstance(signature, str):
            return "a signature that cannot be read"
        meant_for = delivery.headers.get(HEADER_SIGNED_TO)
        if meant_for is not None and meant_for != delivery.queue:
            return "signed for another queue"
        content = signed_content(
            delivery.type,
            delivery.message_id,
            delivery.correlation_id,
            delivery.reply_to,
            delivery.content_type,
            delivery.content_encoding,
            delivery.headers,
            delivery.body,
        )
        return keys.problem(signature, content)

    @staticmethod
    def _encoded(codec: Codec, body: bytes) -> bytes:
        try:
            return codec.encode(body)
        except CodecUnavailable:
            raise
        except Exception as error:
            # Its text might hold what the codec is there to hide.
            raise CannotSeal(f"the codec {codec.name!r} cannot code it ({type(error).__name__})") from error


def _travelling(headers: dict[str, HeaderValue]) -> dict[str, object]:
    """The headers as the receiver sees them."""
    sent = {name: value for name, value in headers.items() if name not in NOT_HEADERS}
    plain: dict[str, object] = json.loads(json.dumps(sent))
    return plain


def _without(headers: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in headers.items() if name not in names}


def _is_ours(type_: str, content_type: str) -> bool:
    """Whether amends reads it: a Celery task, say, goes to workers that know of no codec."""
    return type_.startswith("amends.") or content_type == _EVENTS


def _refused(delivery: Delivery, fault: str) -> Delivery:
    return msgspec.structs.replace(delivery, fault=fault, content_encoding=UNSEALED)
