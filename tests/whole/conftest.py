"""One coordinator, one worker and one door for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doors.conftest import amends
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer
from tests.whole.whole import Whole

__all__ = ["amends"]


@pytest.fixture(scope="module")
def whole(postgres: PostgresServer, coordinator_template: str, rabbit: RabbitServer) -> Iterator[Whole]:
    """Everything, running."""
    made = Whole(postgres, coordinator_template, rabbit)
    yield made
    made.close()
