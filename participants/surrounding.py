"""A participant whose handlers run inside something of the caller's: how a framework lends them its own connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias

from amends.participants.context import Ctx
from amends.participants.errors import InvalidHandler
from amends.participants.participant import Handler, Participant, Together
from amends.participants.signature import Slot

# Entered in the handler's thread before it, with its context; left after it, also when it raises.
Around: TypeAlias = Callable[[Ctx], AbstractContextManager[None]]


def surrounded(participant: Participant, around: Around) -> Participant:
    """The same participant, each of its handlers run inside `around(ctx)`; the given one stays as it is.

    Several commands that one function obeys at once share a transaction, and `around` gets the first one's context.
    Raises: InvalidHandler if a handler is async: it would work in other threads than the one that is surrounded.
    """
    return participant.with_handlers(
        lambda handler: _handler(participant, handler, around), lambda together: _together(together, around)
    )


def _handler(participant: Participant, handler: Handler, around: Around) -> Handler:
    signature = handler.signature
    if signature.is_async:
        raise InvalidHandler(
            f"{handler.op} {handler.name!r} of participant {participant.name!r} is async; here handlers are plain "
            f"functions, because what an async one awaits works in other threads, outside of its transaction"
        )
    takes_ctx = Slot.CTX in signature.slots
    place = signature.slots.index(Slot.CTX) if takes_ctx else len(signature.slots)
    function = handler.function

    @wraps(function)
    def run(*values: Any) -> Any:
        with around(values[place]):
            return function(*(values if takes_ctx else values[:place]))

    slots = signature.slots if takes_ctx else (*signature.slots, Slot.CTX)
    return replace(handler, function=run, signature=replace(signature, slots=slots))


def _together(function: Together, around: Around) -> Together:
    @wraps(function)
    def run(commands: list[Any], ctxs: list[Any]) -> Any:
        with around(ctxs[0]):
            return function(commands, ctxs)

    return run
