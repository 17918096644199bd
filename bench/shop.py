"""The benchmark's saga and participants as a user of amends writes them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import text

from amends.coordinator import Saga, arg, chain, pivot, step
from amends.participants import Ctx, Participant

EFFECT = text("INSERT INTO effects (saga_id, number) VALUES (:saga, :number)")
EFFECTS = text(
    "INSERT INTO effects (saga_id, number) SELECT * FROM unnest(CAST(:sagas AS uuid[]), CAST(:numbers AS text[]))"
)
UNDONE = text("DELETE FROM effects WHERE saga_id = :saga")

bench_order = Saga(
    "bench-order",
    chain(
        step("reserve", to="inventory", undo="release", args={"number": arg.number, "lines": arg.lines}),
        step(
            "charge",
            to="payments",
            undo="refund",
            args={"number": arg.number, "card": arg.card, "amount_cents": arg.amount_cents},
        ),
        pivot(step("dispatch", to="shipping", args={"number": arg.number, "address": arg.address})),
    ),
    version=1,
    deadline="15m",
)

inventory = Participant("inventory")
payments = Participant("payments")
shipping = Participant("shipping")


class Reserve(Struct, frozen=True):
    """The command to inventory."""

    number: str
    lines: list[dict[str, Any]]


class Charge(Struct, frozen=True):
    """The command to payments."""

    number: str
    card: str
    amount_cents: int


class Dispatch(Struct, frozen=True):
    """The command to shipping."""

    number: str
    address: dict[str, str]


class Reference(Struct, frozen=True):
    """What each step answers."""

    reference: str = "R-2026-000123"


def _effect(number: str, ctx: Ctx) -> Reference:
    ctx.connection.execute(EFFECT, {"saga": ctx.saga, "number": number})
    return Reference()


def _effects(numbers: list[str], ctxs: list[Ctx]) -> list[Reference]:
    sagas = [ctx.saga for ctx in ctxs]
    ctxs[0].connection.execute(EFFECTS, {"sagas": sagas, "numbers": numbers})
    return [Reference() for _ in numbers]


def _undone(ctx: Ctx) -> None:
    ctx.connection.execute(UNDONE, {"saga": ctx.saga})


@inventory.command
def reserve(cmd: Reserve, ctx: Ctx) -> Reference:
    """Put goods aside."""
    return _effect(cmd.number, ctx)


@reserve.together
def reserve_all(cmds: list[Reserve], ctxs: list[Ctx]) -> list[Reference]:
    """Several at once, where a worker takes batches."""
    return _effects([cmd.number for cmd in cmds], ctxs)


@reserve.undo
def release(_cmd: Reserve, _done: Reference, ctx: Ctx) -> None:
    """Put them back."""
    _undone(ctx)


@payments.command
def charge(cmd: Charge, ctx: Ctx) -> Reference:
    """Take the money."""
    return _effect(cmd.number, ctx)


@charge.together
def charge_all(cmds: list[Charge], ctxs: list[Ctx]) -> list[Reference]:
    """Several at once, where a worker takes batches."""
    return _effects([cmd.number for cmd in cmds], ctxs)


@charge.undo
def refund(_cmd: Charge, _done: Reference, ctx: Ctx) -> None:
    """Give it back."""
    _undone(ctx)


@shipping.command
def dispatch(cmd: Dispatch, ctx: Ctx) -> Reference:
    """Hand the parcel over."""
    return _effect(cmd.number, ctx)


@dispatch.together
def dispatch_all(cmds: list[Dispatch], ctxs: list[Ctx]) -> list[Reference]:
    """Several at once, where a worker takes batches."""
    return _effects([cmd.number for cmd in cmds], ctxs)
