"""A PostgreSQL that is asked through a counting proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.roundtrips import Counted, counted
from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="module")
def proxy(postgres: PostgresServer) -> Iterator[Counted]:
    """Before the shared server."""
    with counted(postgres.url) as made:
        yield made
