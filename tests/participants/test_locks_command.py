"""`amends locks` and what `amends barrier stats` says of them, on both databases."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, update

from amends.db.engines import transaction
from amends.db.tables.participant import lock as table
from amends.participants.cli_barrier import barrier
from amends.participants.cli_locks import locks
from amends.participants.locks.rule import Claimant
from amends.participants.locks.store import LockStore

HOLDER, WAITS, LAPSED = (uuid4() for _ in range(3))


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, participant_database: Engine, sqlite_database: Engine) -> Engine:
    """Each database, with one lock that a saga has, one that waits, and one that has not come back."""
    chosen = participant_database if request.param == "postgresql" else sqlite_database
    store = LockStore(chosen.dialect.name)
    with transaction(chosen) as connection:
        store.take(connection, "order:42", Claimant(HOLDER, 1), "place-order", "open")
        for number, saga in enumerate((WAITS, LAPSED)):
            store.wait(connection, "order:42", Claimant(saga, number), "cancel-order", "stop", 30_000)
        gone = update(table).where(table.c.saga_id == LAPSED).values(waits_until_ms=1, at_ms=10**12)
        connection.execute(gone)
    return chosen


def called(database: Engine, command: click.Command, *words: str, said: str = "") -> Result:
    """The command's answer."""
    url = database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(command, [*words, "--database", url], input=said, catch_exceptions=False)


def listed(database: Engine) -> list[tuple[str, UUID]]:
    rows = [json.loads(line) for line in called(database, locks, "list", "--json").output.splitlines()]
    return [(row["is"], UUID(row["saga"])) for row in rows]


def test_holders_come_first_then_those_that_wait(database: Engine) -> None:
    assert listed(database) == [("held", HOLDER), ("lapsed", LAPSED), ("waits", WAITS)]

    told = called(database, locks, "list").output
    assert "order:42" in told
    assert f"{HOLDER}  place-order, open" in told
    assert "locks    1 held, 2 sagas in line" in called(database, barrier, "stats").output
    counted = [json.loads(line) for line in called(database, barrier, "stats", "--json").output.splitlines()]
    assert [(row["op"], row["outcome"], row["rows"]) for row in counted] == [
        ("lock", "held", 1),
        ("lock", "waits", 2),
    ]


def test_a_saga_is_let_go_only_by_who_says_that_it_is_over(database: Engine) -> None:
    """Guard: the question; what a running saga has locked, others would then see."""
    kept = called(database, locks, "release", str(HOLDER), said="n\n")

    assert kept.exit_code == 1
    assert ("held", HOLDER) in listed(database)
    assert json.loads(called(database, locks, "release", str(HOLDER), "--yes", "--json").output) == {
        "released": 1
    }
    assert [saga for _, saga in listed(database)] == [LAPSED, WAITS]


def test_no_saga_by_that_id_is_told(database: Engine) -> None:
    wrong = called(database, locks, "release", "order:42", "--yes")

    assert wrong.exit_code == 2
    assert "is not a valid UUID" in wrong.output
    assert called(database, locks, "release", str(uuid4()), "--yes").output == "locks and places let go: 0\n"
