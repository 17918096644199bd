"""The words of the saga language: `step`, `chain`, `group`, `pivot`, `retry`, and the references `arg`, `result`.

They only note what was written; `Definition.from_json` checks it, all of it at once and with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from amends.coordinator.saga.json import Json
from amends.coordinator.saga.references import Reference, arg, json_of, result

__all__ = ["Duration", "Sketch", "arg", "chain", "group", "pivot", "result", "retry", "step"]

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
    args: object = UNSAID,
    timeout: Duration | None = None,
    retry: PolicySketch | None = None,
    undo_timeout: Duration | None = None,
    undo_retry: PolicySketch | None = None,
) -> Sketch:
    """One command to the participant `to`; the command is `do`, or the step's own name.

    Before the pivot say one of: `undo="command"`; `undo=None`, nothing can undo it; `reads=True`, there is nothing
    to undo. `args` is what the command gets: references, values and mixtures; all of the saga's input if it is not
    said. `timeout` (30 s) is how long an answer is awaited, `retry` when and how often it is tried again;
    `undo_timeout` and `undo_retry` are the same for its undo and its fences.
    """
    written: dict[str, object] = {"name": name, "to": to, "do": do}
    written |= {"timeout": length_of(timeout), "undo_timeout": length_of(undo_timeout)}
    written |= {"retry": _policy(retry, "retry"), "undo_retry": _policy(undo_retry, "undo_retry")}
    written = {key: value for key, value in written.items() if value is not None}
    if undo is not UNSAID:
        written["undo"] = undo
    if reads:
        written["reads"] = reads
    if args is not UNSAID:
        try:
            written["args"] = json_of(args)
        except TypeError as error:
            raise TypeError(f"step {name!r}: {error}") from None
    return _sketch("step", written)


def chain(*nodes: Sketch) -> Sketch:
    """One after another; each begins when the one before is done."""
    return _sketch("chain", {"nodes": [_node(node, "chain") for node in nodes]})


def group(*nodes: Sketch) -> Sketch:
    """Side by side; done when all are."""
    return _sketch("group", {"nodes": [_node(node, "group") for node in nodes]})


def pivot(node: Sketch) -> Sketch:
    """The point of no return, in the outermost chain: once this step is done nothing is compensated any more."""
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
    return PolicySketch(json)  # type: ignore[arg-type] # Whatever it is, reading it tells.


def _sketch(kind: str, written: dict[str, object]) -> Sketch:
    return Sketch({"kind": kind, **written})  # type: ignore[dict-item] # Whatever it is, reading it tells.


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
