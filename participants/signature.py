"""What a handler's signature says: which payload it takes, whether it wants the context, whether it is async."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from amends.participants.context import Ctx
from amends.participants.errors import InvalidHandler
from amends.participants.payloads import PayloadReader

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Slot(Enum):
    """What a parameter is given."""

    COMMAND = "the command"
    RESULT = "the result of the command"
    CTX = "the context"


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call a handler: its positional parameters in order, how their payloads are read, what it returns."""

    slots: tuple[Slot, ...]
    command: PayloadReader | None
    result: PayloadReader | None
    is_async: bool
    returns: Any = Any

    def arguments(self, args: bytes, result: bytes | None, ctx: object) -> list[Any]:
        """The values to call with. A missing result, or null, is None. Raises: InvalidPayload."""
        values: list[Any] = []
        for slot in self.slots:
            if slot is Slot.CTX:
                values.append(ctx)
            elif slot is Slot.COMMAND and self.command is not None:
                values.append(self.command.read(args))
            elif slot is Slot.RESULT and self.result is not None:
                values.append(None if result in (None, b"null") else self.result.read(result or b"null"))
        return values


def read_signature(
    function: Callable[..., Any],
    *,
    takes_result: bool,
    names: Mapping[str, Any],
    context: type = Ctx,
    reader: Callable[[Any], PayloadReader] = PayloadReader,
) -> Signature:
    """The signature of a handler; `names` are the local names that its annotations may use.

    The first parameter is the command, the second of an undo or confirm the command's result, and one that is
    annotated with `context`, or is called `ctx`, the context. Further parameters need defaults and are left alone.
    `reader` makes what reads a declared type.

    Raises: InvalidHandler.
    """
    try:
        annotations = inspect.get_annotations(function, locals=dict(names), eval_str=True)
    except NameError as error:
        raise InvalidHandler(
            f"{_place(function)}: an annotation names {error.name!r}, which is not defined where the handler is"
        ) from error
    wanted = [Slot.COMMAND, Slot.RESULT] if takes_result else [Slot.COMMAND]
    slots: list[Slot] = []
    readers: dict[Slot, PayloadReader] = {}
    for parameter in inspect.signature(function).parameters.values():
        declared = annotations.get(parameter.name, Any)
        if parameter.kind not in _POSITIONAL:
            if parameter.default is inspect.Parameter.empty:
                raise InvalidHandler(
                    f"{_place(function)}: parameter {parameter.name!r} is not a plain positional one"
                )
            continue
        if declared is context or (declared is Any and parameter.name == "ctx"):
            slots.append(Slot.CTX)
        elif wanted and (parameter.default is inspect.Parameter.empty):
            slot = wanted.pop(0)
            slots.append(slot)
            readers[slot] = _reader(function, parameter.name, declared, reader)
        elif parameter.default is inspect.Parameter.empty:
            raise InvalidHandler(
                f"{_place(function)}: nothing is known to give to parameter {parameter.name!r}; "
                f"a handler takes (command, ctx), an undo or confirm (command, result, ctx)"
            )
        else:
            break
    return Signature(
        tuple(slots),
        readers.get(Slot.COMMAND),
        readers.get(Slot.RESULT),
        inspect.iscoroutinefunction(inspect.unwrap(function)),
        annotations.get("return", Any),
    )


def _reader(
    function: Callable[..., Any], parameter: str, declared: Any, reader: Callable[[Any], PayloadReader]
) -> PayloadReader:
    try:
        return reader(declared)
    except InvalidHandler as error:
        raise InvalidHandler(f"{_place(function)}: parameter {parameter!r}: {error}") from error


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"handler {getattr(function, '__qualname__', repr(function))}{where}"
