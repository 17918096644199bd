"""The child: it does the work in its own database. It knows no parent."""

import time

from msgspec import Struct
from sqlalchemy import text

from amends.participants import Ctx, Participant, Refused
from examples.child_tells_parent.saga import House

child = Participant("child")
WORK_S = 0.05


class Painted(Struct):
    colour: str


@child.command
def paint(cmd: House, ctx: Ctx) -> Painted:
    if cmd.number % 10 == 7:
        raise Refused("this house is listed")
    time.sleep(WORK_S)
    ctx.connection.execute(
        text("INSERT INTO painted (parent, number) VALUES (:parent, :number)"),
        {"parent": cmd.parent, "number": cmd.number},
    )
    return Painted("red" if cmd.number % 2 else "blue")
