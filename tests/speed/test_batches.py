"""How often a batch of the engine waits for its database, counted on the wire (decision 0120)."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from amends.db.engines import open_engine
from bench.roundtrips import Counted
from tests.engine.test_statements import ORDER, Line
from tests.engine.world import start
from tests.servers.postgres import PostgresServer
from tests.speed.counting import RoundTrips, through

# BEGIN and the time and the locks, or how the names stand; the insert; what is written; timers and COMMIT.
OF_STARTS = 4
OF_REPLIES = 3


@pytest.fixture
def database(postgres: PostgresServer, proxy: Counted, coordinator_template: str) -> Iterator[Engine]:
    """A coordinator's database by way of the proxy."""
    url = postgres.create_database(coordinator_template)
    engine = open_engine(through(proxy, url), pool_max=1, label=f"speed {uuid4().hex[:8]}")
    yield engine
    engine.dispose()
    postgres.drop_database(url)


@pytest.mark.parametrize("sagas", [1, 50])
def test_a_batch_waits_three_or_four_times_however_many_sagas_are_in_it(
    database: Engine, proxy: Counted, sagas: int
) -> None:
    """Guards: `pipelined` in Decider._process; `open_batch`; the COMMIT in Pipelined.commit."""
    with database.connect() as connection:
        name = connection.execute(text("SHOW application_name")).scalar_one()
    trips = RoundTrips(proxy, name)
    line = Line(database)
    for _ in range(2):  # The first time statements are prepared, and the definition is read.
        for _ in range(sagas):
            line.engine.coordinator.submit_start(start("place-order", ORDER), actor="test")
        starts = _trips(line, trips)
        line.deliver()
        replies = _trips(line, trips)

    assert (starts, replies) == (OF_STARTS, OF_REPLIES)


def _trips(line: Line, trips: RoundTrips) -> int:
    """Of one batch; nobody listens to its statements."""
    trips.more()
    line.engine.decide()
    took = trips.more()
    line.post_on()
    return took
