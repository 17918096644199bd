"""What the outbox's tests share: the participant's tables on PostgreSQL and on SQLite, and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, insert, select, update

from amends.db.engines import transaction
from amends.db.tables.participant import outbox, owner
from amends.outbox.message import Message, OutboxRow
from amends.outbox.store import OutboxStore


@pytest.fixture
def store() -> OutboxStore:
    """The store of a participant's tables."""
    return OutboxStore(outbox, owner)


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, postgres: object) -> Engine:
    """An engine on a database with a participant's tables, of each kind in turn."""
    engine: Engine = request.getfixturevalue(
        "participant_database" if request.param == "postgresql" else "sqlite_database"
    )
    return engine
