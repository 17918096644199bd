"""What is asked every second does not read what has ended. Counted in rows, not in time."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from amends.coordinator.engine import breakers, sql, windows
from amends.db.engines import transaction
from tests.plans import plan, rows_read

FINISHED = 20_000
LIVE = 30

SAGAS = """
    INSERT INTO amends.saga (id, name, version, format, status, backwards, input, input_hash, start_message,
        started_ms, clock_ms, seq, head, ended_at)
    SELECT md5(%(status)s::text || n)::uuid, 'old', 1, 1, %(status)s::text, false, 'null', '', '', 0, 0, 1, '{}',
        CASE WHEN %(status)s::text = 'completed' THEN now() END
    FROM generate_series(1, %(count)s) AS n
"""
STEPS = """
    INSERT INTO amends.step (saga_id, path, node, queue, phase, op, round, attempt, spent, since_ms, due_ms, did)
    SELECT md5(%(status)s::text || n)::uuid, 'reserve', 'reserve', 'inventory.do', %(phase)s::text, 'do', 1, 1, 0, 0,
        CASE WHEN %(phase)s::text = 'awaiting' THEN 0 END,
        CASE WHEN %(phase)s::text = 'settled' THEN 'done' ELSE 'unknown' END
    FROM generate_series(%(after)s + 1, %(after)s + %(count)s) AS n
"""


@pytest.fixture
def old(coordinator_database: Engine) -> Engine:
    """Twenty thousand finished sagas; a few that wait for an answer, a few that are parked."""
    with transaction(coordinator_database) as connection:
        for status, count in (("completed", FINISHED), ("running", 2 * LIVE)):
            connection.exec_driver_sql(SAGAS, {"status": status, "count": count})
        for status, phase, after, count in (
            ("completed", "settled", 0, FINISHED),
            ("running", "awaiting", 0, LIVE),
            ("running", "parked", LIVE, LIVE),
        ):
            values = {"status": status, "phase": phase, "after": after, "count": count}
            connection.exec_driver_sql(STEPS, values)
    return coordinator_database


def read(database: Engine, statement: str, values: dict[str, object]) -> int:
    """How many rows of sagas and steps its scans looked at, returned or thrown away."""
    with transaction(database) as connection:
        root = plan(connection, statement, values)
        connection.rollback()
    return rows_read(root, {"saga", "step"})


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "fresh statistics"])
def test_windows_are_counted_from_what_waits_and_not_from_what_has_ended(old: Engine, analyzed: bool) -> None:
    """Every coordinator asks once a second. Guard: the arms of COUNTS, each with a partial index of its own."""
    if analyzed:
        with transaction(old) as connection:
            connection.exec_driver_sql("ANALYZE amends.saga, amends.step")

    rows = read(old, windows.COUNTS, {})

    assert rows == 2 * 2 * LIVE  # each step, and its saga
    with transaction(old) as connection:
        assert windows.counts(connection) == ({"inventory.do": LIVE}, {"inventory.do": LIVE})


def test_a_probe_is_looked_for_among_what_waits(old: Engine) -> None:
    """Guard: the arms of WAITING_COMMAND."""
    with transaction(old) as connection:
        connection.exec_driver_sql("ANALYZE amends.saga, amends.step")

    assert read(old, breakers.WAITING_COMMAND, {"queue": "inventory.do"}) <= 2 * 2 * LIVE


def test_parked_steps_and_what_is_to_be_pruned_are_found_by_index(old: Engine) -> None:
    """Guard: the indexes ix_step_parked and ix_saga_ended."""
    with transaction(old) as connection:
        connection.exec_driver_sql("ANALYZE amends.saga, amends.step")

    drawn = {"queue": "inventory.do", "cursor": "", "rows_max": 100}
    assert read(old, windows.NEXT_PARKED, drawn) <= 2 * 2 * LIVE
    assert read(old, sql.PRUNE, {"retention_s": 3_600.0, "rows_max": 500}) == 0
