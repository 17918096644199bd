"""What the outbox's tests share: databases with a participant's tables."""

from __future__ import annotations

from typing import Final

import pytest
from sqlalchemy import Engine

FIXTURES: Final = {
    "postgresql": "participant_database",
    "mariadb": "mariadb_database",
    "sqlite": "sqlite_database",
}


@pytest.fixture(params=list(FIXTURES))
def database(request: pytest.FixtureRequest, postgres: object, mariadb: object) -> Engine:
    """An engine on a database with a participant's tables, of each kind in turn."""
    engine: Engine = request.getfixturevalue(FIXTURES[request.param])
    return engine
