"""The inventory service: it sets goods aside for an order, and puts back what it set aside."""

from __future__ import annotations

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
    insert,
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


@inventory.command
def reserve(cmd: Reserve, ctx: Ctx) -> Reserved:
    """Set every line aside, or refuse and take nothing."""
    sandbox.before_picking((line.sku for line in cmd.lines), ctx)
    for line in sorted(cmd.lines, key=sku_of):  # Sorted: two orders never wait for each other's goods.
        taken = ctx.connection.execute(
            update(stock)
            .where(stock.c.sku == line.sku, stock.c.on_hand >= line.quantity)
            .values(on_hand=stock.c.on_hand - line.quantity)
        )
        if not taken.rowcount:
            raise Refused(f"out of stock: {line.sku}")
    ctx.connection.execute(
        insert(reservations),
        [
            {"saga_id": ctx.saga, "order_number": cmd.order, "sku": line.sku, "quantity": line.quantity}
            for line in cmd.lines
        ],
    )
    return Reserved(reservation=f"R-{cmd.order}", pieces=sum(line.quantity for line in cmd.lines))


@reserve.undo
def release(cmd: Reserve, ctx: Ctx) -> None:
    """Put every line back."""
    sandbox.before_picking((line.sku for line in cmd.lines), ctx)
    ctx.connection.execute(
        insert(releases),
        [{"saga_id": ctx.saga, "sku": line.sku, "quantity": line.quantity} for line in cmd.lines],
    )
    for line in sorted(cmd.lines, key=sku_of):
        ctx.connection.execute(
            update(stock).where(stock.c.sku == line.sku).values(on_hand=stock.c.on_hand + line.quantity)
        )


def sku_of(line: Line) -> str:
    """The product of a line."""
    return line.sku
