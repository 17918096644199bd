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


def read_then(name: str, read: str, write: str, undo: str = "") -> Saga:
    """Read, take some time, write what follows from what was read."""
    account = {"account": arg.account}
    first = (
        step(read, to="bank", undo=undo, args=account)
        if undo
        else step(read, to="bank", reads=True, args=account)
    )
    return Saga(
        name,
        chain(
            first,
            sleep("500ms"),
            pivot(step(write, to="bank", args={**CHANGE, "was": result(read)})),
        ),
        version=1,
        input=Wish,
    )


unguarded = read_then("unguarded", "read", "write")
# Who locks is no mere reader: its undo, which does nothing, makes sure that the coordinator hears of the lock.
locked = read_then("locked", "lock_and_read", "write", undo="let_be")
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
    pivot(
        step(
            "rename",
            to="bank",
            args={"account": arg.account, "holder": arg.holder, "version": arg.version},
        )
    ),
    version=1,
    input=Wish,
)
by_value = Saga(
    "by-value",
    chain(pivot(step("withdraw", to="bank", args=CHANGE)), sleep("1500ms")),
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
