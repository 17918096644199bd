"""What the outbox's tests share: databases with a participant's tables."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, postgres: object) -> Engine:
    """An engine on a database with a participant's tables, of each kind in turn."""
    engine: Engine = request.getfixturevalue(
        "participant_database" if request.param == "postgresql" else "sqlite_database"
    )
    return engine
