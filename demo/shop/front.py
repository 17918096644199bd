"""The shop front: takes orders. An order and the start of its saga are one transaction: both, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    func,
    insert,
)

from amends.coordinator import Saga
from amends.db.engines import transaction
from amends.demo.shop.definition import Order, place_order
from amends.participants import Client

SERVICE: Final = "front"
TWICE: Final = "77"  # customers whose order number ends so press the button twice

metadata = MetaData()

orders = Table(
    "orders",
    metadata,
    Column("number", String(60), primary_key=True),
    Column("saga_id", Uuid(as_uuid=False), nullable=False, unique=True),
    Column("card", String(200), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("pieces", BigInteger, nullable=False),
    Column("total_cents", BigInteger, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)


class Front:
    """Places orders in the front's own database, from where a relay carries the starts away."""

    def __init__(self, database: Engine, *, prefix: str, saga: Saga = place_order) -> None:
        """`saga` is what an order starts."""
        self._database = database
        self._saga = saga
        self._client = Client(service=SERVICE, prefix=prefix)

    def place(self, several: Sequence[Order]) -> None:
        """Take these orders. Raises: StoreUnavailable."""
        with transaction(self._database) as connection:
            rows = []
            for order in several:
                labels = {"order": order.number}
                saga_id = self._client.start(connection, self._saga, order, key=order.number, labels=labels)
                if order.number.endswith(TWICE):
                    self._client.start(connection, self._saga, order, key=order.number, labels=labels)
                rows.append(
                    {
                        "number": order.number,
                        "saga_id": saga_id,
                        "card": order.card,
                        "lines": len(order.lines),
                        "pieces": sum(line.quantity for line in order.lines),
                        "total_cents": order.total_cents,
                    }
                )
            connection.execute(insert(orders), rows)
