"""What a service is told of a call that was sent with `reply_to=` its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

import msgspec

from amends.outbox import wire
from amends.participants.calls.request import command_called
from amends.participants.errors import InvalidHandler, InvalidPayload
from amends.participants.payloads import PayloadReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What became of one call.

    `call` is its id, as `Client.send` gave it. `result` is what the handler returned, if it is done; `reason` why it is
    refused or failed. `refused`: a business no; with `certain=False` an effect outside the participant is in doubt.
    `failed`: nothing happened and nobody tries again; send it again if that is wanted, after `retry_after_s`.
    `expired`: a key older than what the participant remembers.
    """

    call: str
    participant: str
    command: str
    outcome: Literal["done", "refused", "failed", "expired"]
    result: T | None = None
    reason: str = ""
    certain: bool = True
    retry_after_s: float | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.outcome == "done"


class AnswerReader(PayloadReader):
    """Reads a reply's body into an `Answer` of the type that a handler declares."""

    __slots__ = ("_result",)

    def __init__(self, declared: Any) -> None:
        """Raises: InvalidHandler for what is neither `Answer` nor `Answer[...]` of a type that JSON can be read as."""
        if declared is not Any and declared is not Answer and get_origin(declared) is not Answer:
            raise InvalidHandler(
                f"{declared!r} is no Answer; declare Answer[...] with the type of the result"
            )
        result = get_args(declared)[0] if get_origin(declared) is Answer else Any
        super().__init__(result)
        self._result = PayloadReader(result)

    def read(self, payload: bytes | msgspec.Raw) -> Answer[Any]:
        """The answer. Raises: InvalidPayload for a result of another type."""
        reply = read_reply(bytes(payload))
        done = reply.outcome is wire.Outcome.DONE
        return Answer(
            call=reply.saga,
            participant=reply.participant,
            command=command_called(reply.path) or "",
            outcome=_word(reply.outcome),
            result=self._result.read(reply.result) if done else None,
            reason=reply.reason,
            certain=reply.certain,
            retry_after_s=reply.retry_after_s,
        )


def read_reply(body: bytes) -> wire.Reply:
    """The reply in a body. Raises: InvalidPayload, MalformedMessage."""
    reply = wire.decode(wire.REPLY, body)
    if not isinstance(reply, wire.Reply):
        raise InvalidPayload("", "no reply")
    return reply


def _word(outcome: wire.Outcome) -> Literal["done", "refused", "failed", "expired"]:
    match outcome:
        case wire.Outcome.DONE:
            return "done"
        case wire.Outcome.REFUSED:
            return "refused"
        case wire.Outcome.FAILED:
            return "failed"
        case _:  # A `do` is answered by no other.
            return "expired"
