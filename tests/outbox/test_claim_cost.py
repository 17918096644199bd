"""O8: what a claim reads does not grow with what it need not see. Counted in rows and pages, not in time."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine

from amends.db.engines import transaction
from amends.db.tables.participant import outbox
from amends.outbox import sql_postgresql as sql
from tests.outbox.rows import STORE, beat, message, stored
from tests.plans import nodes, pages_read, plan, rows_read

IN_FRONT = 20_000
DUE = 50

FILL = """
INSERT INTO amends_outbox (message_id, routing_key, type, body, created_at, due_at, owner, needs_receipt, sent_at,
                           parked_at, last_error, ordering_key, leased_until)
SELECT n::text, 't.queue', 'test', repeat('x', 200)::bytea, now() - %(age)s * interval '1 second',
       now() + %(due)s * interval '1 second', %(owner)s, %(sent)s,
       CASE WHEN %(sent)s THEN now() END, CASE WHEN %(parked)s THEN now() END, CASE WHEN %(parked)s THEN 'x' END,
       %(key)s, CASE WHEN %(leased)s THEN now() + interval '1 minute' END
FROM generate_series(1, %(rows)s) AS n
"""


def fill(database: Engine, **columns: object) -> None:
    values = {
        "age": 3_600,
        "due": -3_600,
        "owner": None,
        "sent": False,
        "parked": False,
        "key": None,
        "leased": False,
        "rows": IN_FRONT,
    }
    with transaction(database) as connection:
        connection.exec_driver_sql(FILL, {**values, **columns})


@pytest.fixture
def crowd(participant_database: Engine) -> Engine:
    """Twenty thousand older rows of each kind that a claim has no business with."""
    owner = uuid4()
    beat(participant_database, owner)
    fill(participant_database, owner=owner, age=0)
    fill(participant_database, sent=True, due=3_600)
    fill(participant_database, parked=True)
    fill(participant_database, leased=True, due=60)
    fill(participant_database, leased=True, due=60, key="a busy key")
    return participant_database


def explained(connection: Connection, statement: str, values: dict[str, object]) -> dict[str, Any]:
    return plan(
        connection, statement.replace("$outbox", outbox.name).replace("$owner", "amends_owner"), values
    )


def scanned(root: dict[str, Any]) -> int:
    """Rows that scans of the outbox looked at, returned or thrown away."""
    return rows_read(root, {outbox.name})


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "fresh statistics"])
def test_a_claim_reads_what_is_due_and_nothing_in_front_of_it(crowd: Engine, analyzed: bool) -> None:
    """Guard: the partial index ix_amends_outbox_unowned, and `due_at` moved by leases and deferrals."""
    stored(crowd, [message(n) for n in range(DUE)])
    if analyzed:
        with transaction(crowd) as connection:
            connection.exec_driver_sql("ANALYZE amends_outbox")

    with transaction(crowd) as connection:
        read = explained(connection, sql.CANDIDATES, {"rows_max": 500})

    indexes = {node.get("Index Name") for node in nodes(read)} - {None}
    assert indexes == {"ix_amends_outbox_unowned"}
    assert scanned(read) == DUE
    assert pages_read(read) < 20 + 5 * DUE


def test_a_look_in_vain_reads_next_to_nothing(participant_database: Engine) -> None:
    """Analyzed while all were due, a planner that is free to would read the whole table. Guard: ORDER BY in LOOK."""
    fill(participant_database)
    with transaction(participant_database) as connection:
        connection.exec_driver_sql("ANALYZE amends_outbox")
        connection.exec_driver_sql("UPDATE amends_outbox SET due_at = now() + interval '1 hour'")
    with participant_database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM amends_outbox")

    with transaction(participant_database) as connection:
        read = explained(connection, sql.LOOK, {})

    assert scanned(read) == 0
    assert pages_read(read) < 20


def test_the_look_for_a_keys_head_reads_one_row(crowd: Engine) -> None:
    """Guard: the partial index ix_amends_outbox_keyed."""
    [row] = stored(crowd, [message(key="a busy key")])
    with transaction(crowd) as connection:
        connection.exec_driver_sql("ANALYZE amends_outbox")

    with transaction(crowd) as connection:
        read = explained(connection, sql.BEHIND, {"ids": [row.id], "keys": ["a busy key"]})
        woken = explained(connection, sql.WAKE, {"keys": ["a busy key"]})

    assert scanned(read) <= 1
    assert pages_read(read) < 20
    assert pages_read(woken) < 60


# What is written over rows that were locked by their ids.
WRITES: dict[str, tuple[str, dict[str, object]]] = {
    "marked sent": (sql.MARK_SENT, {"first_s": 1.0, "longest_s": 60.0}),
    "handed back": (sql.RELEASE, {"delay_s": 1.0, "error": "", "counts": 0, "returned": False}),
    "given to the sweep": (sql.DISOWN, {"delay_s": 1.0, "error": "", "counts": 0, "returned": False}),
    "parked": (sql.PARK, {"error": "x"}),
    "given to another owner": (sql.ADOPT, {"owner": uuid4()}),
}


@pytest.mark.parametrize("what", WRITES)
def test_rows_are_written_by_their_ids_also_without_statistics(
    participant_database: Engine, what: str
) -> None:
    """A young table looks as if next to no row passed a condition: then PostgreSQL reads all of them for each id.

    Guard: the conditions stand where rows are locked. Beside the join these fifty rows were 100,000 pages.
    """
    owned = what in ("given to the sweep", "given to another owner")
    messages = [message(n, needs_receipt=True) for n in range(2_000)]
    written = [row.id for row in stored(participant_database, messages, uuid4() if owned else None)][-DUE:]
    statement, values = WRITES[what]

    with transaction(participant_database) as connection:
        read = explained(connection, statement, {**values, "ids": written})

    assert pages_read(read) < 60 * DUE
    assert scanned(read) <= 2 * 2_000


def test_the_look_for_dead_owners_hops_over_living_ones(crowd: Engine) -> None:
    """Guard: the recursion in DISOWN_DEAD, and the index ix_amends_outbox_owned."""
    for _ in range(5):
        owner = uuid4()
        beat(crowd, owner)
        stored(crowd, [message()] * 10, owner)
    with transaction(crowd) as connection:
        connection.exec_driver_sql("ANALYZE amends_outbox")

    with transaction(crowd) as connection:
        values = {"rows_max": 2_000, "dead_s": 20.0, "backstop_s": 300.0, "grace_s": 15.0}
        read = explained(connection, sql.DISOWN_DEAD, values)

    assert scanned(read) <= 3 * 6
    assert pages_read(read) < 200


def test_a_long_backlog_costs_a_claim_no_more_than_a_short_one(participant_database: Engine) -> None:
    """A broker was away for hours: from full to empty the cost per message is flat."""
    database = participant_database
    fill(database, rows=200_000)
    with transaction(database) as connection:
        read = explained(connection, sql.CANDIDATES, {"rows_max": 500})

    assert scanned(read) == 500
    assert pages_read(read) < 5 * 500


def test_the_owner_id_of_the_crowd_is_left_alone(crowd: Engine) -> None:
    with transaction(crowd) as connection:
        assert STORE.claim(connection, 500, lease_s=30) == []
        assert isinstance(connection.execute(outbox.select().limit(1)).first().owner, UUID)
