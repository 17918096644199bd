"""What the engine reads does not grow with the sagas that are over: counted in rows and pages, not in time."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from amends.coordinator import gauges
from amends.coordinator.engine import sql, windows
from amends.db.engines import open_engine, transaction
from tests.plans import pages_read, plan, rows_read
from tests.servers.postgres import PostgresServer

FINISHED = 20_000
LIVE = 50
STEPS = 3

SAGAS = text("""
    INSERT INTO amends.saga (id, name, version, format, status, backwards, input, input_hash, start_message, started_ms,
        clock_ms, seq, head, created_at, ended_at)
    SELECT gen_random_uuid(), 'pack', 1, 1, CAST(:status AS text), false, '{}', '', '', 0, 0, 7, '{}', now(),
        CASE WHEN CAST(:status AS text) = 'completed' THEN now() END
    FROM generate_series(1, :many)
""")
STEP_ROWS = text("""
    INSERT INTO amends.step (saga_id, path, node, queue, phase, op, round, attempt, spent, since_ms, due_ms, did)
    SELECT id, 'step-' || number, 'pack', 'packers.do',
        CASE WHEN ended_at IS NULL AND number = :steps THEN 'awaiting' ELSE 'settled' END, 'do', 1, 1, 0, 0,
        CASE WHEN ended_at IS NULL AND number = :steps THEN 0 END, 'done'
    FROM amends.saga, generate_series(1, :steps) AS number
""")
TIMERS = text("""
    INSERT INTO amends.timer (saga_id, path, attempt, queue, due_at)
    SELECT id, 'step-' || :steps, 1, 'packers.do', now() FROM amends.saga WHERE ended_at IS NULL
""")


@pytest.fixture(scope="module")
def crowd(postgres: PostgresServer, coordinator_template: str) -> Iterator[Engine]:
    """Fifty sagas under way among twenty thousand that are over."""
    url = postgres.create_database(coordinator_template)
    database = open_engine(url)
    with transaction(database) as connection:
        connection.execute(SAGAS, {"status": "completed", "many": FINISHED})
        connection.execute(SAGAS, {"status": "running", "many": LIVE})
        connection.execute(STEP_ROWS, {"steps": STEPS})
        connection.execute(TIMERS, {"steps": STEPS})
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) amends.saga, amends.step, amends.timer")
    yield database
    database.dispose()
    postgres.drop_database(url)


# What each statement may read: rows of live sagas, a few times over where it joins.
STATEMENTS: dict[str, tuple[str, dict[str, object]]] = {
    "whether any timer is due": (sql.LOOK_AT_TIMERS, {}),
    "the timers that are due": (sql.CLAIM_TIMERS, {"token": str(uuid4()), "lease_s": 30, "rows_max": 500}),
    "what is out and parked": (windows.COUNTS, {}),
    "who is let in next": (windows.NEXT_PARKED, {"queue": "packers.do", "cursor": "", "rows_max": 100}),
    "sagas past their retention": (sql.PRUNE, {"retention_s": 86_400, "rows_max": 500}),
    "live sagas for the gauges": (gauges.LIVE_SAGAS, {}),
    "parked steps for the gauges": (gauges.PARKED_STEPS, {}),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_twenty_thousand_finished_sagas_are_not_looked_at(crowd: Engine, name: str) -> None:
    """Guard: the partial indexes on live sagas and unsettled steps, and the index on `ended_at`."""
    statement, values = STATEMENTS[name]

    with transaction(crowd) as connection:
        read = plan(connection, statement, values)

    assert rows_read(read) <= 6 * LIVE, read
    assert pages_read(read) <= 20 * LIVE, read


def test_a_batch_reads_its_own_sagas_and_no_other(crowd: Engine) -> None:
    """Guard: the primary keys, in which the arrays of a batch are looked up one by one."""
    with transaction(crowd) as connection:
        ids = list(
            connection.execute(text("SELECT id::text FROM amends.saga WHERE ended_at IS NULL")).scalars()
        )
        locked = plan(connection, sql.LOCK_HEADS, {"ids": ids})
        headers = plan(connection, sql.READ_SAGAS, {"ids": ids})
        steps = plan(
            connection,
            sql.LOAD_SOME_STEPS,
            {"whole": ids, "open": [], "saga_id": ids[:1], "path": ["step-1"]},
        )

    assert rows_read(locked) <= 3 * LIVE
    assert rows_read(headers) <= 3 * LIVE
    assert rows_read(steps) <= (STEPS + 1) * LIVE
    assert max(pages_read(one) for one in (locked, headers, steps)) <= 30 * LIVE
