"""What the shop keeps, and the handlers that obey the saga's commands with it."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from amends.participants import Ctx, Participant, Refused


class Base(DeclarativeBase):
    """The shop's tables."""


class Item(Base):
    """What is in stock."""

    __tablename__ = "item"

    sku: Mapped[str] = mapped_column(primary_key=True)
    stock: Mapped[int]


class Order(Base):
    """What somebody wants; `saga` is the saga that sees to it."""

    __tablename__ = "shop_order"

    number: Mapped[str] = mapped_column(primary_key=True)
    saga: Mapped[str]


class Payment(Base):
    """Money that was taken; given back it is gone."""

    __tablename__ = "payment"

    saga: Mapped[str] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Reserve(Struct, frozen=True):
    """So many of these."""

    sku: str
    quantity: int


class Charge(Struct, frozen=True):
    """So much from this card."""

    card: str
    cents: int


shop = Participant("shop")


@shop.command
async def reserve(cmd: Reserve, ctx: Ctx) -> None:
    """Take the goods from the stock, which commits together with the answer to the saga."""
    taken = await ctx.asession.scalar(
        update(Item)
        .where(Item.sku == cmd.sku, Item.stock >= cmd.quantity)
        .values(stock=Item.stock - cmd.quantity)
        .returning(Item.sku)
    )
    if taken is None:
        raise Refused("sold out")


@reserve.undo
async def release(cmd: Reserve, ctx: Ctx) -> None:
    """Put them back; amends calls this once, and only if `reserve` had taken them."""
    await ctx.asession.execute(
        update(Item).where(Item.sku == cmd.sku).values(stock=Item.stock + cmd.quantity)
    )


@shop.command
async def charge(cmd: Charge, ctx: Ctx) -> None:
    """Take the money."""
    if cmd.card == "declined":
        raise Refused("card declined")
    ctx.asession.add(Payment(saga=ctx.saga, cents=cmd.cents))


@charge.undo
async def refund(_cmd: Charge, ctx: Ctx) -> None:
    """Give it back."""
    await ctx.asession.delete(await ctx.asession.get_one(Payment, ctx.saga))
