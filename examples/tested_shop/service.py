"""The shop's two participants: its stock, in its database, and its till, which asks a payment provider."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from amends.participants import Ctx, Participant, Refused


class Base(DeclarativeBase):
    """The shop's tables."""


class Item(Base):
    """What lies where, and how many of it."""

    __tablename__ = "item"
    sku: Mapped[str] = mapped_column(String(40), primary_key=True)
    place: Mapped[str] = mapped_column(String(40))
    pieces: Mapped[int]


class Reserve(Struct):
    """Put one aside."""

    sku: str


class Reserved(Struct):
    """Where it lies."""

    place: str


class Charge(Struct):
    """Take so much."""

    cents: int


class Provider(Protocol):
    """A payment provider: what comes twice under one key happens once."""

    def charge(self, key: str, cents: int) -> None:
        """Take money."""

    def void(self, key: str) -> None:
        """Take back what happened under this key, and refuse what may still come under it."""


stock = Participant("stock")


@stock.command
def reserve(cmd: Reserve, ctx: Ctx) -> Reserved:
    """Put one piece aside."""
    item = ctx.session.get(Item, cmd.sku, with_for_update=True)
    if item is None or item.pieces == 0:
        raise Refused(f"no {cmd.sku} left")
    item.pieces -= 1
    return Reserved(place=item.place)


@reserve.undo
def release(cmd: Reserve, ctx: Ctx) -> None:
    """Put it back."""
    item = ctx.session.get_one(Item, cmd.sku, with_for_update=True)
    item.pieces += 1


def till(provider: Provider) -> Participant:
    """The till of this provider's customer."""
    participant = Participant("till")

    @participant.command(external=True)
    def charge(cmd: Charge, ctx: Ctx) -> None:
        provider.charge(ctx.idempotency_key, cmd.cents)

    @charge.undo
    def refund(_cmd: Charge, ctx: Ctx) -> None:
        provider.void(ctx.do_idempotency_key)

    return participant
