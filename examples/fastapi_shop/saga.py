"""The saga that the shop starts: reserve the goods, charge the card, and give the goods back if that is refused."""

from __future__ import annotations

from amends.coordinator import Saga, arg, chain, step

place_order = Saga(
    "place-order",
    chain(
        step("reserve", to="shop", undo="release", args={"sku": arg.sku, "quantity": arg.quantity}),
        step("charge", to="shop", undo="refund", args={"card": arg.card, "cents": arg.cents}),
    ),
    version=1,
    deadline="15m",
)
