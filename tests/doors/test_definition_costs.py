"""Which definitions are in use is read from an index, not from every saga."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from amends.coordinator import Saga, step
from amends.coordinator.catalog import Catalog
from amends.coordinator.needs import LIVE_DEFINITIONS
from amends.coordinator.queries import DEFINITION, DEFINITIONS

ENDED, LIVE = 4_000, 2_000

MANY = text("""
    INSERT INTO amends.saga (id, name, version, format, status, backwards, input, input_hash, start_message, started_ms,
        clock_ms, seq, head, ended_at)
    SELECT gen_random_uuid(), 'pack', 1, 1, CASE WHEN live THEN 'running' ELSE 'completed' END, false, '{}', '', '', 0,
        0, 1, '{}', CASE WHEN live THEN NULL ELSE now() END
    FROM (SELECT number <= :live AS live FROM generate_series(1, :all) AS number) AS made
""")


@pytest.mark.parametrize("query", [LIVE_DEFINITIONS, DEFINITIONS, DEFINITION], ids=["needs", "list", "one"])
def test_no_saga_itself_is_read(coordinator_database: Engine, query: str) -> None:
    """Guard: the index `ix_saga_version`; without it a sequential scan goes through the whole table."""
    Catalog(coordinator_database).register(
        Saga("pack", step("pack", to="packers", undo="unpack"), version=1).definition, actor="test"
    )
    with coordinator_database.begin() as connection:
        connection.execute(MANY, {"live": LIVE, "all": ENDED + LIVE})
    with coordinator_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) amends.saga")
        plan = connection.exec_driver_sql("EXPLAIN " + query, {"name": "pack", "version": None}).scalars()
        lines = "\n".join(plan)

    assert "Seq Scan on saga" not in lines, lines
    assert "ix_saga_version" in lines, lines
