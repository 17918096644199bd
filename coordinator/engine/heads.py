"""The part of a saga's header that only the machine reads, as one JSON column.

What is at its default is left out: most sagas have no `each`, no signals, no parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from amends.coordinator.saga.state import Decision, Fan, Kept, Parent, Pivot, Saga

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_ALWAYS: Final = ("positions", "pivot", "wants_back", "cause", "overrides", "trace")
_DEFAULTS: Final[Mapping[str, object]] = {
    "fans": {},
    "signals": {},
    "parent": None,
    "decision": Decision.NONE,
    "finishing": False,
    "result": None,
    "told": "",
    "holders": (),
}
_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "pivot": Pivot,
    "overrides": tuple,
    "fans": lambda fans: {key: _fan(fan) for key, fan in fans.items()},
    "signals": lambda signals: {name: tuple(Kept(**one) for one in kept) for name, kept in signals.items()},
    "parent": lambda parent: None if parent is None else Parent(**parent),
    "decision": Decision,
    "holders": tuple,
}


def head_text(saga: Saga) -> str:
    """The column of a saga."""
    head = {name: getattr(saga, name) for name in _ALWAYS}
    for name, default in _DEFAULTS.items():
        value = getattr(saga, name)
        if value != default:
            head[name] = value
    return _encode(head).decode()


def read_head(text: str) -> dict[str, Any]:
    """The fields of a saga that the column holds."""
    head: dict[str, Any] = _decode(text)
    for name, read in _READERS.items():
        if name in head:
            head[name] = read(head[name])
    return head


def _fan(fan: dict[str, Any]) -> Fan:
    return Fan(total=fan["total"], next=fan["next"], open=tuple(fan["open"]), skip=tuple(fan["skip"]))
