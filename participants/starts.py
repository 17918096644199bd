"""What a start says, checked before anything is stored or sent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, runtime_checkable
from uuid import uuid4

import msgspec

from amends.outbox import wire
from amends.outbox.spelling import input_problem, is_participant, is_printable, is_traceparent
from amends.outbox.traces import carrying, joined
from amends.outbox.tracing import switch
from amends.participants.errors import InvalidInput, InvalidPayload
from amends.participants.logging import current_scope
from amends.participants.payloads import PayloadReader, encode


@runtime_checkable
class MakesKeys(Protocol):
    """A saga that knows which key its definition makes of an input, as `amends.coordinator.Saga` does."""

    def key_of(self, value: Any) -> str | None:
        """The key of this input's JSON, None if it makes none. Raises: ValueError for an input that gives none."""


class DeclaredSaga(Protocol):
    """What the client needs of a saga: `amends.coordinator.Saga` is one, and so may be a service's own stand-in."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> int:
        """The version to start."""

    @property
    def input_type(self) -> Any:
        """The type of its input; None takes anything."""


SagaOrName: TypeAlias = DeclaredSaga | str


def make_start(
    saga: SagaOrName,
    value: Any,
    key: str | None,
    labels: Mapping[str, str] | None,
    *,
    takes_key: bool = True,
    finished: str | None = None,
) -> wire.Start:
    """The start of a saga; with a key, given or made by its definition, its id follows from name and key (S2).

    What a schedule starts takes no key (S4). `finished` names the participant that is told of its end.
    Raises: InvalidInput, saying where.
    """
    if finished is not None and not is_participant(finished):
        raise InvalidInput(f"finished={finished!r:.60}: no participant can have this name")
    if isinstance(saga, str):
        name, version, input_type = saga, None, None
    else:
        try:
            name, version, input_type = saga.name, saga.version, saga.input_type
        except AttributeError:
            raise InvalidInput(f"a saga is a Saga or a saga's name, not {saga!r}") from None
    if not 0 < len(name) <= wire.NAME_CHARS_MAX:
        raise InvalidInput(f"a saga's name has 1 to {wire.NAME_CHARS_MAX} characters, not {len(name)}")
    if key is not None and not (
        isinstance(key, str) and 0 < len(key) <= wire.KEY_CHARS_MAX and is_printable(key)
    ):
        raise InvalidInput(
            f"saga {name!r}: a key has 1 to {wire.KEY_CHARS_MAX} printable characters; this is {key!r:.40}"
        )
    payload = _checked_input(name, value, input_type)
    if key is None and takes_key and isinstance(saga, MakesKeys):
        try:
            key = saga.key_of(msgspec.json.decode(payload))
        except ValueError as error:
            raise InvalidInput(f"saga {name!r}: {error}") from error
    return wire.Start(
        saga=str(uuid4()) if key is None else wire.saga_id_of(name, key),
        name=name,
        input=msgspec.Raw(payload),
        version=version,
        key=key,
        labels=_checked_labels(name, labels or {}),
        sent_at=time.time_ns() // 1_000_000,
        finished=finished,
    )


def trace_headers(traceparent: str | None) -> dict[str, str]:
    """The headers that carry a trace on: the given one's, or that of the code at hand. Raises: InvalidInput.

    Where tracing is on that is the current span's, else in a handler its command's.
    """
    if traceparent is not None:
        if not is_traceparent(traceparent):
            raise InvalidInput("a traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")
        return {wire.HEADER_TRACEPARENT: traceparent}
    current = switch.tracing.headers() if switch.tracing is not None else {}
    scope = current_scope()
    if current or scope is None or not scope.traceparent:
        return current
    return carrying(joined(scope.traceparent, scope.tracestate))


def _checked_input(name: str, value: Any, input_type: Any) -> bytes:
    try:
        payload = encode(value)
        plain = msgspec.json.decode(payload)
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InvalidInput(f"saga {name!r}: its input cannot be written as JSON: {error}") from error
    problem = input_problem(plain)
    if problem is not None:
        raise InvalidInput(f"saga {name!r}: its input is {problem}")
    if input_type is not None:
        try:
            _reader(input_type).read(payload)
        except InvalidPayload as error:
            raise InvalidInput(f"saga {name!r}: input.{error.path}: {error.problem}") from error
    return payload


@lru_cache(maxsize=256)
def _reader(input_type: Any) -> PayloadReader:
    return PayloadReader(input_type)


def _checked_labels(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > wire.LABELS_MAX:
        raise InvalidInput(f"saga {name!r}: {len(labels)} labels are over the limit of {wire.LABELS_MAX}")
    for label, value in labels.items():
        if not (isinstance(label, str) and isinstance(value, str)):
            raise InvalidInput(f"saga {name!r}: label {label!r}: names and values of labels are text")
        if not 0 < len(label) <= wire.LABEL_CHARS_MAX or len(value) > wire.LABEL_CHARS_MAX:
            raise InvalidInput(
                f"saga {name!r}: label {label[:40]!r}: names and values have up to {wire.LABEL_CHARS_MAX}"
            )
        if not (is_printable(label) and is_printable(value)):
            raise InvalidInput(f"saga {name!r}: label {label!r}: no control characters")
    return dict(labels)
