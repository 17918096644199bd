"""Which functions of a participant take the answers to which commands: a registry without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from amends.outbox.wire import Op
from amends.participants.calls.answer import AnswerReader
from amends.participants.errors import InvalidHandler
from amends.participants.signature import read_signature

if TYPE_CHECKING:
    from amends.participants.participant import Handler

_THREADS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHandler:
    """A handler, and the answers it takes: to `command`, of the participant `of`, or of any (None)."""

    handler: Handler
    command: str
    of: str | None
    threads: int
    attempts: int


class AnswerHandlers:
    """Those of one participant."""

    def __init__(self, participant: str) -> None:
        self._participant = participant
        self._all: dict[tuple[str | None, str], AnswerHandler] = {}

    def __iter__(self) -> Iterator[AnswerHandler]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    @property
    def threads(self) -> int:
        """How many answers a process takes at once: all of them share a queue."""
        return max((one.threads for one in self), default=0)

    def find(self, participant: str, command: str) -> AnswerHandler | None:
        """Who takes the answers of this participant to this command."""
        return self._all.get((participant, command)) or self._all.get((None, command))

    def add(self, one: AnswerHandler) -> None:
        """Raises: InvalidHandler if these answers are taken already."""
        if self._all.setdefault((one.of, one.command), one) is not one:
            raise InvalidHandler(
                f"participant {self._participant!r} already takes the answers to {one.command!r}"
                + ("; say of which participant, by of=..." if one.of is None else f" of {one.of!r}")
            )

    def with_handlers(self, handler: Callable[[Handler], Handler]) -> AnswerHandlers:
        """The same ones, each with its handler as `handler` makes it anew."""
        other = AnswerHandlers(self._participant)
        other._all = {key: replace(one, handler=handler(one.handler)) for key, one in self._all.items()}
        return other


def make_answer_handler(
    function: Callable[..., Any],
    command: str,
    of: str | None,
    *,
    threads: int,
    attempts: int,
    names: Mapping[str, Any],
) -> AnswerHandler:
    """What `@participant.answer` makes of a function. Raises: InvalidHandler, naming the mend."""
    from amends.participants.participant import Handler

    where = f"the answers to {command!r}"
    if not 1 <= threads <= _THREADS_MAX:
        raise InvalidHandler(f"{where}: threads must be 1 to {_THREADS_MAX}, not {threads}")
    if attempts < 1:
        raise InvalidHandler(f"{where}: attempts must be at least 1, not {attempts}")
    signature = read_signature(function, takes_result=False, names=names, reader=AnswerReader)
    if signature.command is None:
        raise InvalidHandler(
            f"{where}: a handler takes (answer: Answer[...], ctx: Ctx), or the first of them"
        )
    name = str(getattr(function, "__name__", "answer"))
    return AnswerHandler(
        handler=Handler(Op.DO, name, function, signature),
        command=command,
        of=of,
        threads=threads,
        attempts=attempts,
    )
