"""Sagas that others get between the steps of; the sleeps stand for what takes time there."""

from __future__ import annotations

from msgspec import Struct

from amends.coordinator import Saga, arg, chain, pivot, result, sleep, step


class Wish(Struct):
    account: str
    cents: int = 0
    holder: str = ""
    version: int = 0


CHANGE = {"account": arg.account, "cents": arg.cents}


def read_then(name: str, read: str, write: str) -> Saga:
    """Read, take some time, write what follows from what was read."""
    return Saga(
        name,
        chain(
            step(read, to="bank", undo=None, args={"account": arg.account}),
            sleep("500ms"),
            step(write, to="bank", undo=None, args={**CHANGE, "was": result(read)}),
        ),
        version=1,
        input=Wish,
    )


unguarded = read_then("unguarded", "read", "write")
locked = read_then("locked", "lock_and_read", "write")
reread = read_then("reread", "read", "write_if_unchanged")
commutative = Saga(
    "commutative",
    chain(
        step("add", to="bank", undo="subtract", args=CHANGE),
        pivot(step("approve", to="bank", args=CHANGE)),
    ),
    version=1,
    input=Wish,
)
versioned = Saga(
    "versioned",
    step(
        "rename",
        to="bank",
        undo=None,
        args={"account": arg.account, "holder": arg.holder, "version": arg.version},
    ),
    version=1,
    input=Wish,
)
by_value = Saga(
    "by-value",
    chain(step("withdraw", to="bank", undo=None, args=CHANGE), sleep("1500ms")),
    version=1,
    input=Wish,
)
pessimistic = Saga(
    "pessimistic",
    chain(pivot(step("approve", to="bank", args=CHANGE)), step("raise_credit", to="bank", args=CHANGE)),
    version=1,
    input=Wish,
)

sagas = (unguarded, locked, reread, commutative, versioned, by_value, pessimistic)
