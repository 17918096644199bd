"""The shipping service: it hands parcels to the carrier."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Identity, MetaData, String, Table, Uuid, insert

from amends.demo.shop.carrier import Carrier
from amends.participants import CircuitBreaker, Ctx, Participant, Refused

metadata = MetaData()

parcels = Table(
    "parcels",
    metadata,
    Column("no", BigInteger, Identity(always=True), primary_key=True),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("order_number", String(60), nullable=False),
    Column("reservation", String(80), nullable=False),
    Column("tracking", String(40), nullable=False),
    Column("city", String(200), nullable=False),
)

shipping = Participant("shipping")
carrier = Carrier()
breaker = CircuitBreaker("carrier", failures=5, open_s=0.5)


class Address(Struct, frozen=True):
    """Where the parcel goes."""

    name: str
    street: str
    postcode: str
    city: str


class Dispatch(Struct, frozen=True):
    """The command: send these goods there."""

    order: str
    reservation: str
    address: Address


class Dispatched(Struct, frozen=True):
    """The result: the carrier's number for the parcel."""

    tracking: str


@shipping.command(external=True)
def dispatch(cmd: Dispatch, ctx: Ctx) -> Dispatched:
    """Hand the parcel to the carrier, or refuse where no carrier goes."""
    if not carrier.serves(cmd.address.postcode):
        raise Refused(f"no carrier goes to {cmd.address.city}")
    with breaker:
        tracking = carrier.book(key=ctx.idempotency_key, city=cmd.address.city)
    ctx.connection.execute(
        insert(parcels).values(
            saga_id=ctx.saga,
            order_number=cmd.order,
            reservation=cmd.reservation,
            tracking=tracking,
            city=cmd.address.city,
        )
    )
    return Dispatched(tracking=tracking)
