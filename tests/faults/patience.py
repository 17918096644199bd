"""Sagas that no timer saves: what a fault loses stays lost, so whatever ends was durable, and repeated."""

from __future__ import annotations

from typing import Final

from amends.coordinator import Saga, arg, chain, pivot, result, step
from amends.demo.orders import own_orders
from amends.demo.shop import sandbox
from amends.demo.shop.definition import BRIEF, SOON, Order

PATIENCE: Final = "1h"
# Troubles that are answered with silence, or with `failed`: that answer has no row, so a fault may lose it (B1).
UNANSWERED: Final = (sandbox.BUSY, sandbox.SILENT, sandbox.LATE, sandbox.SLOW_REFUND)

# The demo's order, but inventory and payments are waited for. The carrier is not: a command that meets a standing
# call is answered `failed`.
patient_order = Saga(
    "place-order",
    chain(
        step(
            "reserve",
            to="inventory",
            undo="release",
            args={"order": arg.number, "lines": arg.lines},
            timeout=PATIENCE,
            undo_timeout=PATIENCE,
        ),
        step(
            "charge",
            to="payments",
            undo="refund",
            args={"order": arg.number, "card": arg.card, "amount_cents": arg.total_cents},
            timeout=PATIENCE,
            undo_timeout=PATIENCE,
        ),
        pivot(
            step(
                "dispatch",
                to="shipping",
                args={
                    "order": arg.number,
                    "reservation": result("reserve").reservation,
                    "address": arg.address,
                },
                timeout=BRIEF,
                retry=SOON,
            )
        ),
    ),
    version=2,
    deadline="2h",
    input=Order,
)


def served_orders() -> list[Order]:
    """The demo's orders but for those that the carrier refuses.

    Of a call during which a worker or its database died nobody knows what it did; if the next one is refused, the
    pivot is in doubt, and rightly waits for a person (B5).
    """
    return [order for order in own_orders() if order.address.postcode != sandbox.UNSERVED_POSTCODE]


def answered_orders() -> list[Order]:
    """Those of them that are done or refused, and never answered otherwise."""
    return [order for order in served_orders() if _answered(order)]


def answered_first() -> list[Order]:
    """All of the demo's orders, first those that are done or refused, and never answered otherwise."""
    return sorted(own_orders(), key=lambda order: not _answered(order))


def _answered(order: Order) -> bool:
    return not (
        order.card.startswith(UNANSWERED) or any(line.sku.startswith(sandbox.ARCHIVE) for line in order.lines)
    )
