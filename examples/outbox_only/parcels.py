"""A packing station: it packs parcels, and tells the world of each one it packed."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.orm import Session

from amends.outbox import Message, put

QUEUE: Final = "parcels.packed"

metadata = MetaData()
parcel = Table("parcel", metadata, Column("id", Integer, primary_key=True), Column("address", String(200)))


class NoSuchAddress(Exception):
    """A parcel cannot be sent there."""


def pack(session: Session, address: str) -> int:
    """Pack a parcel, and tell of it, in the caller's transaction: both happen, or neither.

    Raises: NoSuchAddress after the event was put; the caller's transaction rolls it back with the parcel.
    """
    packed = session.execute(parcel.insert().values(address=address).returning(parcel.c.id)).scalar_one()
    event = {"parcel": packed, "address": address}
    # The address is the ordering key: what goes to one address is told in the order in which it was packed.
    put(
        session,
        Message(routing_key=QUEUE, type="parcel.packed", body=json.dumps(event).encode(), key=address),
    )
    if not address.strip():
        raise NoSuchAddress("a parcel needs an address")
    return packed
