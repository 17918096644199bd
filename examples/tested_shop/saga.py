"""Selling something: put it aside, take the money, hand it over."""

from msgspec import Struct

from amends.coordinator import Saga, arg, chain, pivot, result, step


class Sale(Struct):
    """What is sold, and for how much."""

    sku: str
    cents: int


sell = Saga(
    "sell",
    chain(
        step("reserve", to="stock", undo="release", args={"sku": arg.sku}),
        step("charge", to="till", undo="refund", args={"cents": arg.cents}),
        pivot(step("hand_over", to="counter", args={"place": result("reserve")["place"]})),
    ),
    version=1,
    deadline="15m",
    input=Sale,
)
