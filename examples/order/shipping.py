"""The tutorial's third participant: parcels. Nothing undoes a parcel that has left: its step is the pivot."""

from msgspec import Struct
from sqlalchemy import text

from amends.participants import Ctx, Participant, Refused

shipping = Participant("shipping")


class Dispatch(Struct):
    parcel: str
    to: str


@shipping.command
def dispatch(cmd: Dispatch, ctx: Ctx) -> None:
    if not cmd.to:
        raise Refused("a parcel needs an address")
    ctx.connection.execute(
        text("INSERT INTO parcel VALUES (:what, :whereto)"), {"what": cmd.parcel, "whereto": cmd.to}
    )
