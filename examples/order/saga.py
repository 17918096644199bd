"""The README's saga."""

from msgspec import Struct

from amends.coordinator import Saga, arg, chain, pivot, result, step


class Order(Struct):
    sku: str
    card: str
    cents: int
    address: str


place_order = Saga(
    "place-order",
    chain(
        step("reserve", to="inventory", undo="release", args={"sku": arg.sku}),
        step("charge", to="payments", undo="refund", args={"card": arg.card, "cents": arg.cents}),
        pivot(step("dispatch", to="shipping", args={"parcel": result("reserve"), "to": arg.address})),
    ),
    version=1,
    deadline="15m",
    input=Order,
)
