"""A small participant whose effects can be counted."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.orm import DeclarativeBase

metadata = MetaData()

# Nothing here is unique by saga: an effect that happened twice would show.
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("saga", String(40), nullable=False),
    Column("amount", Integer, nullable=False, default=0),
)


class Base(DeclarativeBase):
    """Maps the table of effects."""

    metadata = metadata


class Effect(Base):
    """One effect, by the ORM."""

    __table__ = effects


class Charge(Struct, frozen=True):
    """Take this much from this card."""

    card: str
    amount: int


@dataclass(frozen=True)
class Charged:
    """The receipt."""

    number: str


def record(connection: Connection, kind: str, saga: str, amount: int = 0) -> None:
    """One effect."""
    connection.execute(insert(effects).values(kind=kind, saga=saga, amount=amount))


def count(engine: Engine, kind: str, saga: str | None = None) -> int:
    """How often this effect happened."""
    query = select(func.count()).select_from(effects).where(effects.c.kind == kind)
    if saga is not None:
        query = query.where(effects.c.saga == saga)
    with engine.connect() as connection:
        return int(connection.scalar(query) or 0)
