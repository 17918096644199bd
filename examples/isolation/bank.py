"""A bank whose handlers guard themselves against what other sagas do between their steps."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Column, Integer, MetaData, String, Table, text

from amends.participants import Ctx, Participant, Refused

LARGE_CENTS = 100_000

metadata = MetaData()
account = Table(
    "account",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("cents", Integer, nullable=False, default=0),
    Column("credit", Integer, nullable=False, default=0),
    Column("holder", String(40), nullable=False, default=""),
    Column("version", Integer, nullable=False, default=0),
)

bank = Participant("bank")


class Change(Struct):
    account: str
    cents: int = 0
    was: int = 0


class Rename(Struct):
    account: str
    holder: str
    version: int


def balance(ctx: Ctx, name: str) -> int:
    found = ctx.connection.execute(text("SELECT cents FROM account WHERE name = :name"), {"name": name})
    return int(found.scalar_one())


@bank.command
def read(cmd: Change, ctx: Ctx) -> int:
    """Nothing keeps others from changing it before this saga's next step."""
    return balance(ctx, cmd.account)


@bank.command
def lock_and_read(cmd: Change, ctx: Ctx) -> int:
    """Semantic lock: until this saga ends, no other that asks for the lock gets past this line."""
    ctx.lock(f"account:{cmd.account}")
    return balance(ctx, cmd.account)


@lock_and_read.undo
def let_be(cmd: Change) -> None:
    """The lock goes with the saga's end, and nothing else was done."""


@bank.command
def write(cmd: Change, ctx: Ctx) -> None:
    """An absolute value, made of what was read steps ago: whatever was written in between is lost."""
    ctx.connection.execute(
        text("UPDATE account SET cents = :was + :cents WHERE name = :account"),
        {"account": cmd.account, "was": cmd.was, "cents": cmd.cents},
    )


@bank.command
def write_if_unchanged(cmd: Change, ctx: Ctx) -> None:
    """Reread value: if what was read is no more true, the saga turns back. Looked at and written in one statement."""
    written = ctx.connection.execute(
        text("UPDATE account SET cents = :was + :cents WHERE name = :account AND cents = :was"),
        {"account": cmd.account, "was": cmd.was, "cents": cmd.cents},
    )
    if not written.rowcount:
        raise Refused("the balance has changed since it was read")


@bank.command
def add(cmd: Change, ctx: Ctx) -> None:
    """Commutative update: right in any order among others, and so is its undo."""
    ctx.connection.execute(
        text("UPDATE account SET cents = cents + :cents WHERE name = :account"),
        {"account": cmd.account, "cents": cmd.cents},
    )


@add.undo
def subtract(cmd: Change, ctx: Ctx) -> None:
    add(Change(cmd.account, -cmd.cents), ctx)


@bank.command
def rename(cmd: Rename, ctx: Ctx) -> None:
    """Version: what is older than what stands has nothing to say any more, however late it comes."""
    ctx.connection.execute(
        text(
            "UPDATE account SET holder = :holder, version = :version WHERE name = :account AND version < :version"
        ),
        {"account": cmd.account, "holder": cmd.holder, "version": cmd.version},
    )


@bank.command
def withdraw(cmd: Change, ctx: Ctx) -> None:
    """By value: a small sum need not wait, since being wrong costs little; large ones go one after another."""
    if cmd.cents >= LARGE_CENTS:
        ctx.lock(f"large:{cmd.account}")
    add(Change(cmd.account, -cmd.cents), ctx)


@bank.command
def approve(cmd: Change) -> None:
    """The point of no return: somebody says yes or no."""
    if cmd.cents >= LARGE_CENTS:
        raise Refused("too much")


@bank.command
def raise_credit(cmd: Change, ctx: Ctx) -> None:
    """Pessimistic view: this comes after the pivot, so nobody spends a credit that is taken back later."""
    ctx.connection.execute(
        text("UPDATE account SET credit = credit + :cents WHERE name = :account"),
        {"account": cmd.account, "cents": cmd.cents},
    )
