"""The services' own tables: `python -m examples.order.tables postgresql+psycopg://user@host:port`."""

import sys

from sqlalchemy import text

from amends.db.engines import open_engine, transaction

TABLES = {
    "payments": (
        "CREATE TABLE account (card text PRIMARY KEY, cents int)",
        "INSERT INTO account VALUES ('4111', 1000)",
    ),
    "inventory": (
        "CREATE TABLE shelf (sku text PRIMARY KEY, pieces int)",
        "INSERT INTO shelf VALUES ('tea', 3)",
    ),
    "shipping": ("CREATE TABLE parcel (what text, whereto text)",),
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
