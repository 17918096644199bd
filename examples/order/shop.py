"""The README's start."""

from sqlalchemy.orm import Session

from amends.participants import Client
from examples.order.saga import Order, place_order

client = Client(service="shop")


def buy(session: Session, order: Order, number: str) -> str:
    return client.start(session, place_order, order, key=number)
