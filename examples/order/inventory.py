"""The tutorial's second participant: shelves."""

from msgspec import Struct
from sqlalchemy import text

from amends.participants import Ctx, Participant, Refused

inventory = Participant("inventory")


class Reserve(Struct):
    sku: str


@inventory.command
def reserve(cmd: Reserve, ctx: Ctx) -> str:
    took = ctx.connection.execute(
        text("UPDATE shelf SET pieces = pieces - 1 WHERE sku = :sku AND pieces > 0"), {"sku": cmd.sku}
    )
    if not took.rowcount:
        raise Refused(f"no {cmd.sku} left")
    return f"one {cmd.sku}"  # What the saga knows as result("reserve").


@reserve.undo
def release(cmd: Reserve, ctx: Ctx) -> None:
    ctx.connection.execute(text("UPDATE shelf SET pieces = pieces + 1 WHERE sku = :sku"), {"sku": cmd.sku})
