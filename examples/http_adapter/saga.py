"""Pay, then pick; what cannot be picked is paid back."""

from msgspec import Struct
from sqlalchemy import Column, Integer, MetaData, Table, Text

from amends.coordinator import Saga, arg, chain, pivot, retry, step
from amends.participants import Ctx, Participant, Refused


class Order(Struct):
    number: str
    cents: int
    sku: str


order = Saga(
    "http-order",
    chain(
        step(
            "charge",
            to="billing",
            undo="refund",
            args={"order": arg.number, "cents": arg.cents},
            retry=retry(first="100ms"),
        ),
        pivot(step("pick", to="warehouse", args={"order": arg.number, "sku": arg.sku})),
    ),
    version=1,
    input=Order,
)

metadata = MetaData()
picked = Table(
    "picked", metadata, Column("number", Text, primary_key=True), Column("pieces", Integer, nullable=False)
)

warehouse = Participant("warehouse")


class Pick(Struct):
    order: str
    sku: str


@warehouse.command
def pick(cmd: Pick, ctx: Ctx) -> None:
    if cmd.sku != "tea":
        raise Refused(f"no {cmd.sku}")
    ctx.connection.execute(picked.insert().values(number=cmd.order, pieces=1))
