"""A table of numbers, to see what of a transaction was kept."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from amends.db.engines import transaction

MAKE: Final = "CREATE TABLE kept (id int PRIMARY KEY)"
PUT: Final = "INSERT INTO kept VALUES (%(id)s)"
KEPT: Final = "SELECT id FROM kept ORDER BY id"


def kept(engine: Engine) -> list[int]:
    """The numbers."""
    with transaction(engine) as connection:
        return list(connection.exec_driver_sql(KEPT).scalars())
