"""Buys: `python -m examples.order.buying postgresql+psycopg://.../shop 1 tea 4111 400 "1 Elm Street"`."""

import sys

from sqlalchemy.orm import Session

from amends.db.engines import open_engine
from examples.order.saga import Order
from examples.order.shop import buy


def main(url: str, number: str, sku: str, card: str, cents: str, address: str) -> None:
    """Start the saga in a transaction of the shop's; tells its id."""
    with Session(open_engine(url)) as session, session.begin():
        print(buy(session, Order(sku, card, int(cents), address), number))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
