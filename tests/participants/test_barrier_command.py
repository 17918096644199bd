"""`amends barrier`: counts what is remembered, and forgets what no worker would know any more, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from amends.db.errors import SchemaOutdated
from amends.outbox.wire import Op
from amends.participants.cli_barrier import barrier
from tests.participants.crossing import DAY_S, Step
from tests.participants.shop import metadata


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def database(
    request: pytest.FixtureRequest,
    participant_database: Engine,
    mariadb_database: Engine,
    sqlite_database: Engine,
) -> Engine:
    """Each database the barrier works on, empty."""
    known = {"postgresql": participant_database, "mariadb": mariadb_database, "sqlite": sqlite_database}
    chosen: Engine = known[request.param]
    metadata.create_all(chosen)
    return chosen


def done(database: Engine, days_ago: float) -> Step:
    """A step that was done so many days ago."""
    step = Step(database, retention_s=90 * DAY_S)
    step.do()
    step.change_row(Op.DO, at=datetime.now(UTC) - timedelta(days=days_ago))
    return step


def called(database: Engine, *words: str, said: str = "") -> Result:
    """The command's answer."""
    url = database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(barrier, [*words, "--database", url], input=said, catch_exceptions=False)


def counted(database: Engine) -> dict[tuple[str, str], int]:
    lines = called(database, "stats", "--json").output.splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {(row["op"], row["outcome"]): row["rows"] for row in rows}


def test_rows_are_counted_by_op_and_outcome_and_doubt_is_told(database: Engine) -> None:
    """B5. Guard: a call whose lease has run out is in doubt, one under way is not."""
    done(database, 1)
    done(database, 2).undo()
    for lease_s in (-1, 60):
        Step(database, retention_s=90 * DAY_S).intend(lease_s=lease_s)

    assert counted(database) == {
        ("do", "calling"): 1,
        ("do", "done"): 2,
        ("do", "in doubt"): 1,
        ("undo", "done"): 1,
    }
    assert "in doubt" in called(database, "stats").output


def test_an_empty_barrier_says_so(database: Engine) -> None:
    assert called(database, "stats").output == "the barrier is empty\n"


def test_what_is_past_retention_goes(database: Engine) -> None:
    done(database, 31)
    done(database, 29)

    ended = called(database, "prune", "--json")

    assert json.loads(ended.output) == {"pruned": 1}
    assert counted(database) == {("do", "done"): 1}


def test_to_forget_sooner_than_workers_do_is_asked_for(database: Engine) -> None:
    """B6: a command that comes once more would run again. Guard: the confirm in `prune_`."""
    done(database, 12)

    refused = called(database, "prune", "--retention-days", "10", said="n\n")

    assert refused.exit_code == 1
    assert counted(database) == {("do", "done"): 1}
    assert called(database, "prune", "--retention-days", "10", "--yes").output.endswith(": 1\n")
    assert counted(database) == {}


def test_a_database_without_the_tables_is_told_the_mend(database_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="amends migrate --participant"):
        CliRunner().invoke(barrier, ["stats", "--database", database_url], catch_exceptions=False)
