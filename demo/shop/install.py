"""Makes a participant's tables and fills them; `amends.demo.shop.jobs` does so from a command line.

The amends tables of the same database are `amends migrate`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, MetaData, insert

from amends.demo.shop import inventory, payments, sandbox, shipping
from amends.demo.shop.definition import Order

METADATA: Final[dict[str, MetaData]] = {
    "inventory": inventory.metadata,
    "payments": payments.metadata,
    "shipping": shipping.metadata,
}
LIMITED_SHARE: Final = 0.6  # of what is ordered of a limited edition, so much is there
SHORT_SHARE: Final = 0.5  # of what such a card is to pay, so much is on it


def install(
    participant: str, connection: Connection, orders: Iterable[Order], *, faults: bool = True
) -> None:
    """Make one participant's tables, with goods and cards for these orders.

    With `faults` limited editions run out and the sandbox's cards are blocked or short. Does nothing, but for
    making what is missing, if the tables hold something already.
    """
    METADATA[participant].create_all(connection)
    if participant == "inventory" and connection.execute(inventory.stock.select().limit(1)).first() is None:
        stock = [
            {"sku": sku, "opening": enough, "on_hand": enough}
            for sku, enough in sorted(_stock(orders, faults).items())
        ]
        if stock:
            connection.execute(insert(inventory.stock), stock)
    if participant == "payments" and connection.execute(payments.accounts.select().limit(1)).first() is None:
        accounts = [
            {
                "card": card,
                "blocked": faults and card.startswith(sandbox.DECLINED),
                "opening_cents": cents,
                "balance_cents": cents,
            }
            for card, cents in sorted(_balances(orders, faults).items())
        ]
        if accounts:
            connection.execute(insert(payments.accounts), accounts)


def _stock(orders: Iterable[Order], faults: bool) -> dict[str, int]:
    ordered: Counter[str] = Counter()
    for order in orders:
        for line in order.lines:
            ordered[line.sku] += line.quantity
    return {
        sku: int(pieces * LIMITED_SHARE) if faults and sku.startswith(sandbox.LIMITED) else pieces
        for sku, pieces in ordered.items()
    }


def _balances(orders: Iterable[Order], faults: bool) -> dict[str, int]:
    owed: Counter[str] = Counter()
    for order in orders:
        owed[order.card] += order.total_cents
    return {
        card: int(cents * SHORT_SHARE) if faults and card.startswith(sandbox.SHORT) else cents
        for card, cents in owed.items()
    }
