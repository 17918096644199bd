"""Parked messages of a Django database, by the statements that `amends outbox` uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from django.db import connections, transaction

from amends.outbox import sql_postgresql, sql_sqlite
from amends.participants.django.transactions import joined

_TABLE: Final = "amends_outbox"


def retry_parked(ids: Sequence[int], *, using: str) -> int:
    """Let these rows go again, those that are parked; how many there were. One transaction.

    Raises: as `joined` does.
    """
    with transaction.atomic(using=using), joined(using) as connection:
        if connections[using].vendor == "postgresql":
            statement = sql_postgresql.RETRY_PARKED.replace("$outbox", _TABLE)
            return int(connection.execute(statement, {"ids": list(ids)}).rowcount)
        statement = sql_sqlite.RETRY_PARKED.replace("$outbox", _TABLE).replace("$now", sql_sqlite.NOW)
        return int(connection.execute(statement, {"ids": msgspec.json.encode(list(ids)).decode()}).rowcount)
