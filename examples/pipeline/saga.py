"""One message's way: a, b, c in this order, each with the history that the one before it has written."""

from __future__ import annotations

from msgspec import Struct

from amends.coordinator import Saga, arg, chain, pivot, result, step


class Entry(Struct, frozen=True):
    """Who had it, and when: seconds since 1970."""

    by: str
    at: float


class Piece(Struct, frozen=True):
    """A message with its history so far."""

    number: int
    history: list[Entry]


pipeline = Saga(
    "pipeline",
    chain(
        step("a", to="a", do="visit", undo="forget"),
        step("b", to="b", do="visit", undo="forget", args={"number": arg.number, "history": result("a")}),
        step("c", to="c", do="visit", undo="forget", args={"number": arg.number, "history": result("b")}),
        pivot(step("complete", to="records", args={"number": arg.number, "history": result("c")})),
    ),
    version=1,
    deadline="15m",
    key=arg.number,
    input=Piece,
)
