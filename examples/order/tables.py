"""The services' own tables, filled up again at each call: `python -m examples.order.tables postgresql+psycopg://...:port`."""

import sys

from sqlalchemy import text

from amends.db.engines import open_engine, transaction

TABLES = {
    "payments": (
        "CREATE TABLE IF NOT EXISTS account (card text PRIMARY KEY, cents int)",
        "INSERT INTO account VALUES ('4111', 1000) ON CONFLICT (card) DO UPDATE SET cents = 1000",
    ),
    "inventory": (
        "CREATE TABLE IF NOT EXISTS shelf (sku text PRIMARY KEY, pieces int)",
        "INSERT INTO shelf VALUES ('tea', 3) ON CONFLICT (sku) DO UPDATE SET pieces = 3",
    ),
    "shipping": ("CREATE TABLE IF NOT EXISTS parcel (what text, whereto text)",),
}


def make(name: str, url: str) -> None:
    """Make a service's tables in its database."""
    engine = open_engine(url)
    with transaction(engine) as connection:
        for statement in TABLES[name]:
            connection.execute(text(statement))
    engine.dispose()


if __name__ == "__main__":
    for service in TABLES:
        make(service, f"{sys.argv[1]}/{service}")
