"""The inventory service: it sets goods aside for an order, and puts back what it set aside."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    Uuid,
    bindparam,
    insert,
    select,
    update,
)

from amends.demo.shop import sandbox
from amends.participants import Ctx, Participant, Refused

metadata = MetaData()

stock = Table(
    "stock",
    metadata,
    Column("sku", String(40), primary_key=True),
    Column("opening", Integer, nullable=False),
    Column("on_hand", Integer, CheckConstraint("on_hand >= 0"), nullable=False),
)

# One count over reservations and releases tells which came first; nothing is unique by saga, see payments.
journal = Sequence("journal_no", metadata=metadata)

reservations = Table(
    "reservations",
    metadata,
    Column("no", BigInteger, primary_key=True, server_default=journal.next_value()),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("order_number", String(60), nullable=False),
    Column("sku", String(40), nullable=False),
    Column("quantity", Integer, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("no", BigInteger, primary_key=True, server_default=journal.next_value()),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("sku", String(40), nullable=False),
    Column("quantity", Integer, nullable=False),
)

inventory = Participant("inventory")


class Line(Struct, frozen=True):
    """So many of one product."""

    sku: str
    quantity: int


class Reserve(Struct, frozen=True):
    """The command: set all of this aside."""

    order: str
    lines: list[Line]


class Reserved(Struct, frozen=True):
    """The result: what the parcel's label calls the goods, and how many there are."""

    reservation: str
    pieces: int


# Locked in order, so that two orders never wait for each other's goods.
ON_HAND = (
    select(stock.c.sku, stock.c.on_hand)
    .where(stock.c.sku.in_(bindparam("skus", expanding=True)))
    .order_by(stock.c.sku)
    .with_for_update()
)
MOVE = (
    update(stock)
    .where(stock.c.sku == bindparam("moved"))
    .values(on_hand=stock.c.on_hand + bindparam("pieces"))
)


@inventory.command
def reserve(cmd: Reserve, ctx: Ctx) -> Reserved:
    """Set every line aside, or refuse and take nothing."""
    return reserve_all([cmd], [ctx])[0]


@reserve.together
def reserve_all(cmds: list[Reserve], ctxs: list[Ctx]) -> list[Reserved]:
    """Set every line of several orders aside, or refuse and take nothing: then each is obeyed alone."""
    orders = [pieces_of(cmd) for cmd in cmds]
    for order, ctx in zip(orders, ctxs, strict=True):
        sandbox.before_picking(order, ctx)
    wanted = sum(orders, Counter[str]())
    connection = ctxs[0].connection
    on_hand = {row.sku: row.on_hand for row in connection.execute(ON_HAND, {"skus": sorted(wanted)})}
    for sku, pieces in wanted.items():
        if on_hand.get(sku, 0) < pieces:
            raise Refused(f"out of stock: {sku}")
    connection.execute(MOVE, [{"moved": sku, "pieces": -pieces} for sku, pieces in wanted.items()])
    connection.execute(
        insert(reservations),
        [
            {"saga_id": ctx.saga, "order_number": cmd.order, "sku": line.sku, "quantity": line.quantity}
            for cmd, ctx in zip(cmds, ctxs, strict=True)
            for line in cmd.lines
        ],
    )
    return [
        Reserved(reservation=f"R-{cmd.order}", pieces=order.total())
        for cmd, order in zip(cmds, orders, strict=True)
    ]


@reserve.undo
def release(cmd: Reserve, ctx: Ctx) -> None:
    """Put every line back."""
    wanted = pieces_of(cmd)
    sandbox.before_picking(wanted, ctx)
    ctx.connection.execute(ON_HAND, {"skus": sorted(wanted)})
    ctx.connection.execute(MOVE, [{"moved": sku, "pieces": pieces} for sku, pieces in wanted.items()])
    ctx.connection.execute(
        insert(releases),
        [{"saga_id": ctx.saga, "sku": line.sku, "quantity": line.quantity} for line in cmd.lines],
    )


def pieces_of(cmd: Reserve) -> Counter[str]:
    """How many pieces of each product; a product may be on several lines."""
    pieces: Counter[str] = Counter()
    for line in cmd.lines:
        pieces[line.sku] += line.quantity
    return pieces
