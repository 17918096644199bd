"""The payments service: it charges cards, and refunds what it charged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    MetaData,
    String,
    Table,
    Uuid,
    bindparam,
    insert,
    update,
)
from sqlalchemy import Sequence as Numbers

from amends.demo.shop import sandbox
from amends.participants import Ctx, Participant, Refused

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("card", String(200), primary_key=True),
    Column("blocked", Boolean, nullable=False, default=False),
    Column("opening_cents", BigInteger, nullable=False),
    Column("balance_cents", BigInteger, CheckConstraint("balance_cents >= 0"), nullable=False),
)

# One count over charges and refunds tells which came first. Nothing here is unique by saga: a double charge would
# show, and the barrier alone keeps it away.
journal = Numbers("journal_no", metadata=metadata)

charges = Table(
    "charges",
    metadata,
    Column("no", BigInteger, primary_key=True, server_default=journal.next_value()),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("order_number", String(60), nullable=False),
    Column("card", String(200), nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
)

refunds = Table(
    "refunds",
    metadata,
    Column("no", BigInteger, primary_key=True, server_default=journal.next_value()),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("charge_no", BigInteger, nullable=False),
    Column("card", String(200), nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
)

payments = Participant("payments")


class Charge(Struct, frozen=True):
    """The command: take this much from this card."""

    order: str
    card: str
    amount_cents: int


class Charged(Struct, frozen=True):
    """The result: the charge's number in our books."""

    charge: int


TAKE = (
    update(accounts)
    .where(
        accounts.c.card == bindparam("its_card"),
        ~accounts.c.blocked,
        accounts.c.balance_cents >= bindparam("cents"),
    )
    .values(balance_cents=accounts.c.balance_cents - bindparam("cents"))
)
GIVE_BACK = (
    update(accounts)
    .where(accounts.c.card == bindparam("its_card"))
    .values(balance_cents=accounts.c.balance_cents + bindparam("cents"))
)
RECORD = insert(charges).returning(charges.c.no, sort_by_parameter_order=True)


@payments.command
def charge(cmd: Charge, ctx: Ctx) -> Charged:
    """Take the money, or refuse: an unknown or blocked card, or too little on it."""
    sandbox.before_charge(cmd.card, ctx)
    taken = ctx.connection.execute(TAKE, {"its_card": cmd.card, "cents": cmd.amount_cents})
    if not taken.rowcount:
        raise Refused(why_not(cmd, ctx))
    return recorded([cmd], [ctx])[0]


@charge.together
def charge_all(cmds: list[Charge], ctxs: list[Ctx]) -> list[Charged]:
    """Take the money for several orders, or refuse and take nothing: then each is obeyed alone."""
    due: Counter[str] = Counter()
    for cmd, ctx in zip(cmds, ctxs, strict=True):
        sandbox.before_charge(cmd.card, ctx)
        due[cmd.card] += cmd.amount_cents
    # In order, so that two transactions never wait for each other's accounts.
    takes = [{"its_card": card, "cents": due[card]} for card in sorted(due)]
    if ctxs[0].connection.execute(TAKE, takes).rowcount != len(due):
        raise Refused("one of these cards cannot be charged")
    return recorded(cmds, ctxs)


def recorded(cmds: Sequence[Charge], ctxs: Sequence[Ctx]) -> list[Charged]:
    """Put charges into our books."""
    rows = [
        {
            "saga_id": ctx.saga,
            "order_number": cmd.order,
            "card": cmd.card,
            "amount_cents": cmd.amount_cents,
        }
        for cmd, ctx in zip(cmds, ctxs, strict=True)
    ]
    return [Charged(charge=no) for no in ctxs[0].connection.execute(RECORD, rows).scalars()]


@charge.undo
def refund(cmd: Charge, charged: Charged, ctx: Ctx) -> None:
    """Give the money of this charge back."""
    sandbox.before_refund(cmd.card, ctx)
    ctx.connection.execute(
        insert(refunds).values(
            saga_id=ctx.saga, charge_no=charged.charge, card=cmd.card, amount_cents=cmd.amount_cents
        )
    )
    ctx.connection.execute(GIVE_BACK, {"its_card": cmd.card, "cents": cmd.amount_cents})


def why_not(cmd: Charge, ctx: Ctx) -> str:
    """Why this card cannot be charged."""
    account = ctx.connection.execute(accounts.select().where(accounts.c.card == cmd.card)).one_or_none()
    if account is None:
        return "card unknown"
    return "card declined" if account.blocked else "too little on the card"
