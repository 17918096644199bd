"""The sagas that are started: every node of the language, a parent with children before and after its pivot."""

from __future__ import annotations

from typing import Final

import msgspec

from amends.coordinator import Saga, arg, call, chain, each, emit, group, pivot, retry, sleep, step, wait
from amends.coordinator.saga.json import Json


class Number(msgspec.Struct):
    n: int


_ONCE = retry(limit=1, first="1s")

TRIP: Final = Saga(
    "trip",
    chain(
        step("a", to="x", undo="ua"),
        group(step("b", to="y", undo="ub", retry=_ONCE, undo_retry=_ONCE), step("c", to="y", reads=True)),
        step("n", to="x", undo=None, retry=_ONCE),
        pivot(step("p", to="x", retry=_ONCE)),
        step("d", to="y", retry=_ONCE),
    ),
    version=1,
    deadline="15m",
    input=Number,
)
TRIP_2: Final = Saga("trip", step("a", to="x", undo="ua"), version=2, input=Number)
ITEMS: Final = Saga(
    "items",
    chain(
        each(arg.items, chain(step("s", to="x", undo="us"), step("t", to="y", undo=None)), at_most=2),
        step("z", to="y", undo="uz", confirm="cz"),
    ),
    version=1,
)
APPROVAL: Final = Saga(
    "approval",
    chain(
        step("hold", to="x", undo="free"),
        wait("approved", timeout="1h"),
        sleep("10m"),
        emit("booked", {"by": "us"}, undo="unbooked"),
        wait("second", timeout="5m", on_timeout="continue"),
        step("book", to="y", undo="unbook"),
    ),
    version=1,
    on_stuck="approval.stuck",
)
CHILD: Final = Saga(
    "child",
    chain(
        step("k", to="y", undo="uk", confirm="ck"),
        wait("go", timeout="20m", on_timeout="continue"),
        step("l", to="x", undo="ul"),
    ),
    version=1,
)
PARENT: Final = Saga(
    "parent",
    chain(
        step("e", to="x", undo="ue"),
        call("child", name="kid"),
        pivot(step("q", to="y", retry=_ONCE)),
        call("trip", {"n": arg.n}, version=1, name="after"),
    ),
    version=1,
)

ALL: Final = (TRIP, TRIP_2, ITEMS, APPROVAL, CHILD, PARENT)
STARTED: Final = ("trip", "items", "approval", "parent")
VERSIONS: Final = {
    name: {one.definition.version for one in ALL if one.definition.name == name} for name in STARTED
}
# What may be sent to them; the last is waited for by nobody.
SIGNALS: Final = {"approval": ("approved", "second", "nobody"), "child": ("go", "go", "nobody")}


def waits_for(name: str, signal: str) -> bool:
    """Whether sagas of this name take that signal."""
    return signal in SIGNALS.get(name, ()) and signal != "nobody"


def input_of(name: str, variant: int) -> Json:
    """One of two inputs that fit, or one that does not."""
    if not fits(name, variant):
        return {"n": "many"}
    return {"n": variant, "items": list(range(2 + 2 * variant))}


def variant_of(name: str, number: int) -> int:
    """0 or 1; 2, which does not fit, where the saga says what fits."""
    return number if name == "trip" else number % 2


def fits(name: str, variant: int) -> bool:
    """Whether a start with that input can be accepted."""
    return not (variant == 2 and name == "trip")
