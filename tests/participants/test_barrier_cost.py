"""What the barrier's statements read does not grow with its table: counted in rows and pages, not in time."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import Engine

from amends.db.engines import transaction
from amends.participants.barrier import sql_postgresql as sql
from tests.plans import pages_read, plan, rows_read

STANDING = 2_000
SETTLED = 50

FILL = """
INSERT INTO amends_barrier (saga_id, path, op, round, outcome, certain, final, reason, calls)
SELECT saga, 'step', 'do', 1, 'calling', true, false, '', 0 FROM unnest(%(sagas)s::uuid[]) AS new (saga)
"""


def test_a_batch_is_settled_by_its_keys_also_without_statistics(participant_database: Engine) -> None:
    """A young table looks as if next to no row were a `do`: PostgreSQL would read all of them for each command (B7).

    Guard: ON CONFLICT in SETTLE_MANY, which is not planned; the UPDATE it was took 120 us a command instead of 11.
    """
    sagas: list[UUID] = [uuid4() for _ in range(STANDING)]
    with transaction(participant_database) as connection:
        connection.exec_driver_sql(FILL, {"sagas": sagas})
    values = {
        "sagas": [str(saga) for saga in sagas[:SETTLED]],
        "paths": ["step"] * SETTLED,
        "rounds": [1] * SETTLED,
        "args": [b"null"] * SETTLED,
        "results": [b"1"] * SETTLED,
    }

    with transaction(participant_database) as connection:
        read = plan(connection, sql.SETTLE_MANY, values)
        done = connection.exec_driver_sql(
            "SELECT count(*), count(*) FILTER (WHERE outcome = 'done') FROM amends_barrier"
        ).one()

    assert rows_read(read) <= SETTLED
    assert pages_read(read) < 20 * SETTLED
    assert tuple(done) == (STANDING, SETTLED)
