"""The words of the saga language.

    step  emit  call  wait  sleep      what a saga does
    chain  group  each  choose  pivot  in which order, how often, whether, and from where on there is no way back
    arg  result  item  outer           what it does it with
    retry                              when something is tried again

They only note what was written; `Definition.from_json` checks it, all of it at once and with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from amends.coordinator.saga.json import Json
from amends.coordinator.saga.references import Described, Reference, arg, item, json_of, outer, result

__all__ = [
    "Duration", "Sketch", "arg", "call", "chain", "choose", "each", "emit", "group", "item", "outer", "pivot",
    "result", "retry", "sleep", "step", "wait",
]  # fmt: skip

Duration = str | int | float
"""`"200ms"`, `"20s"`, `"15m"`, `"24h"`, `"7d"`, or a number of seconds."""


class Said(Enum):
    """What nobody said is told from what somebody said to be None."""

    NOTHING = "nothing"


UNSAID: Final = Said.NOTHING

_SECONDS_MAX: Final = 1e12  # Far beyond every bound, and not infinite.


@dataclass(frozen=True, slots=True)
class Sketch:
    """A node as it was written."""

    json: dict[str, Json]


@dataclass(frozen=True, slots=True)
class PolicySketch:
    """A retry policy as it was written."""

    json: dict[str, Json]


def step(
    name: str,
    *,
    to: str,
    do: str | None = None,
    undo: str | Said | None = UNSAID,
    reads: bool = False,
    confirm: str | None = None,
    args: object = UNSAID,
    timeout: Duration | None = None,
    retry: PolicySketch | None = None,
    undo_timeout: Duration | None = None,
    undo_retry: PolicySketch | None = None,
) -> Sketch:
    """One command to the participant `to`; the command is `do`, or the step's own name.

    Before the pivot say one of: `undo="command"`; `undo=None`, nothing can undo it; `reads=True`, there is nothing
    to undo. `confirm="command"` makes it try, confirm, cancel: `do` tries, `undo` cancels, and once the saga has
    decided to succeed `confirm` makes it last. `args` is what the command gets: references, values and mixtures; all
    of the saga's input if it is not said. `timeout` (30 s) is how long an answer is awaited, `retry` when and how
    often it is tried again; `undo_timeout` and `undo_retry` are the same for its undo, its confirm and its fences.
    """
    written: dict[str, object] = {"name": name, "to": to, "do": do, "confirm": confirm}
    written |= {"timeout": length_of(timeout), "undo_timeout": length_of(undo_timeout)}
    written |= {"retry": _policy(retry, "retry"), "undo_retry": _policy(undo_retry, "undo_retry")}
    written = {key: value for key, value in written.items() if value is not None}
    if undo is not UNSAID:
        written["undo"] = undo
    if reads:
        written["reads"] = reads
    if args is not UNSAID:
        written["args"] = value_of(args, f"step {name!r}")
    return _sketch("step", written)


def emit(
    type: str,  # noqa: A002 - CloudEvents' word.
    data: object = UNSAID,
    *,
    undo: str | Said | None = UNSAID,
    name: str | None = None,
) -> Sketch:
    """Publish a domain event of this type; `data` is all of the saga's input if it is not said.

    Before the pivot say `undo="type"`, what is published when the saga turns back, or `undo=None`, nothing is.
    `name` is the event's type unless it is said.
    """
    written: dict[str, object] = {"name": type if name is None else name, "type": type}
    if undo is not UNSAID:
        written["undo"] = undo
    if data is not UNSAID:
        written["data"] = value_of(data, f"emit {type!r}")
    return _sketch("emit", written)


def call(saga: str, args: object = UNSAID, *, name: str | None = None, version: int | None = None) -> Sketch:
    """Run a child saga; its result is the child's. If this saga turns back the child does too.

    `args` is the child's input: all of this saga's if it is not said. `version` is the active one when it starts.
    """
    written: dict[str, object] = {"name": saga if name is None else name, "saga": saga, "version": version}
    if args is not UNSAID:
        written["args"] = value_of(args, f"call {saga!r}")
    return _sketch("call", written)


def wait(
    name: str, *, signal: str | None = None, timeout: Duration | None = None, on_timeout: str = "fail"
) -> Sketch:
    """Wait for a signal, named as this wait unless `signal` is said. The signal's payload is the result.

    In an `each` the signal's name is followed by the item's number: `approved/3`. When `timeout` is over the saga
    fails, or with `on_timeout="continue"` goes on without: `result(name).exists()` tells. Without a timeout it waits
    as long as the saga may take, after the pivot 24 hours.
    """
    return _sketch(
        "wait",
        {"name": name, "signal": signal, "timeout": length_of(timeout), "on_timeout": on_timeout},
    )


def sleep(duration: Duration, *, name: str = "sleep") -> Sketch:
    """Let some time pass. A saga that sleeps more than once names each of them."""
    return _sketch("sleep", {"name": name, "duration": length_of(duration)})


def chain(*nodes: Sketch) -> Sketch:
    """One after another; each begins when the one before is done."""
    return _sketch("chain", {"nodes": [_node(node, "chain") for node in nodes]})


def group(*nodes: Sketch) -> Sketch:
    """Side by side; done when all are."""
    return _sketch("group", {"nodes": [_node(node, "group") for node in nodes]})


def each(over: object, node: Sketch, *, at_most: int | None = None, chunk: int | None = None) -> Sketch:
    """The same for each item of a list, side by side; `item` refers to it. Done when all are.

    `over` is a list or a reference to one. `at_most` (100) bounds how many items are under way at a time, forwards and
    backwards. With `chunk` an item is a list of so many of them.
    """
    written: dict[str, object] = {"over": value_of(over, "each"), "node": _node(node, "each")}
    if at_most is not None:
        written["at_most"] = at_most
    return _sketch("each", {**written, "chunk": chunk})


def choose(*when: tuple[object, Sketch], otherwise: Sketch | None = None) -> Sketch:
    """The first branch whose condition holds: `choose((arg.total > 100, step(...)), otherwise=step(...))`.

    Conditions compare references with each other and with values; `&`, `|` and `~` combine them. One that looks at
    something missing is false; `.exists()` asks for that.
    """
    branches = []
    for one in when:
        if not isinstance(one, tuple) or len(one) != 2:
            raise TypeError(f"choose(...) takes pairs of a condition and a node, not {_named(one)}")
        condition, node = one
        branches.append({"if": value_of(condition, "choose"), "node": _node(node, "choose")})
    written = {"when": branches, "otherwise": None if otherwise is None else _node(otherwise, "choose")}
    return _sketch("choose", written)  # type: ignore[arg-type] # Whatever it is, reading it tells.


def pivot(node: Sketch) -> Sketch:
    """The point of no return, in the outermost chain: once this step or call is done nothing is compensated."""
    return _sketch("pivot", {"node": _node(node, "pivot")})


def retry(
    first: Duration = "1s",
    factor: float = 2,
    longest: Duration = "60s",
    limit: int | None = None,
    within: Duration | None = None,
) -> PolicySketch:
    """Try again after `first`, then `factor` times as long each time, up to `longest`.

    `limit` is how often at most, `within` for how long since it was first wanted. Unless said, a step before the
    pivot is tried until the saga's deadline, everything else for 24 hours.
    """
    json: dict[str, object] = {
        "first": length_of(first),
        "factor": factor,
        "longest": length_of(longest),
        "limit": limit,
        "within": length_of(within),
    }
    return PolicySketch({key: plain(value, "retry", key) for key, value in json.items()})


def _sketch(kind: str, written: dict[str, object]) -> Sketch:
    name = written.get("name", "")
    where = f"{kind} {name!r}" if isinstance(name, str) and name else kind
    return Sketch({"kind": kind, **{key: plain(value, where, key) for key, value in written.items()}})


def plain(value: object, where: str, key: str) -> Json:
    """A field that is a value of the definition itself; a reference stays to be told when it is read.

    Raises: TypeError, naming the place, for what has no JSON form.
    """
    if isinstance(value, Described):
        return json_of(value)
    if value is None or isinstance(value, bool | int | float | str | dict | list):
        return value
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"{where}: `{key}` is of type {type(value).__name__}, which has no JSON form")


def value_of(value: object, where: str) -> Json:
    """What is made of references and values. Raises: TypeError, naming the place, for what has no JSON form."""
    try:
        return json_of(value)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None


def _node(node: object, where: str) -> dict[str, Json]:
    if not isinstance(node, Sketch):
        raise TypeError(f"{where}(...) takes nodes such as step(...), not {_named(node)}")
    return node.json


def _policy(policy: object, where: str) -> dict[str, Json] | None:
    if policy is None or isinstance(policy, PolicySketch):
        return policy.json if policy else None
    raise TypeError(f"{where}= takes retry(...), not {_named(policy)}")


def length_of(duration: object) -> object:
    """Seconds as ms; text, and what is no length at all, stays as it is, to be read in its place."""
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return duration
    return round(duration * 1_000) if abs(duration) < _SECONDS_MAX else str(duration)


def _named(value: object) -> str:
    return "a reference" if isinstance(value, Reference) else f"{type(value).__name__}: {str(value)[:40]!r}"
