"""The README's participant."""

from msgspec import Struct
from sqlalchemy import text

from amends.participants import Ctx, Participant, Refused

payments = Participant("payments")


class Charge(Struct):
    card: str
    cents: int


@payments.command
def charge(cmd: Charge, ctx: Ctx) -> None:
    took = ctx.connection.execute(
        text("UPDATE account SET cents = cents - :cents WHERE card = :card AND cents >= :cents"),
        {"card": cmd.card, "cents": cmd.cents},
    )
    if not took.rowcount:
        raise Refused("card declined")  # A business no: the saga is compensated.


@charge.undo
def refund(cmd: Charge, ctx: Ctx) -> None:
    ctx.connection.execute(
        text("UPDATE account SET cents = cents + :cents WHERE card = :card"),
        {"card": cmd.card, "cents": cmd.cents},
    )
