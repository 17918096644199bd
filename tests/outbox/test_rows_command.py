"""`amends outbox` in a service's own database: counted, listed, retried and dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from amends.coordinator.cli.outbox import outbox as command
from amends.db.engines import open_engine, transaction
from amends.db.participant import create
from amends.db.tables.participant import outbox, owner
from amends.outbox.message import Message
from amends.outbox.store import OutboxStore

STORE = OutboxStore(outbox, owner)


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A service's database with three messages, two of which are parked."""
    if request.param == "postgresql":
        made = str(request.getfixturevalue("database_url"))
    else:
        made = f"sqlite:///{tmp_path / 'service.sqlite'}"
    engine: Engine = open_engine(made)
    create(engine)
    with transaction(engine) as connection:
        ids = STORE.insert(
            connection, [Message(routing_key="gone", type=f"shop.{name}", body=b"{}") for name in "abc"]
        )
        STORE.park(connection, ids[:2], "no queue 'gone' for an hour")
    engine.dispose()
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def test_a_services_outbox_is_counted(url: str) -> None:
    told = json.loads(run("stats", "--database", url, "--json").output)

    assert (told["pending"], told["parked"], told["awaiting_receipt"]) == (1, 2, 0)
    assert "1 pending" in run("stats", "--database", url).output


def test_a_services_parked_rows_are_listed_retried_and_dropped(url: str) -> None:
    rows = [json.loads(line) for line in run("list", "--database", url, "--json").output.splitlines()]
    assert [(row["type"], row["error"]) for row in rows] == [
        ("shop.a", "no queue 'gone' for an hour"),
        ("shop.b", "no queue 'gone' for an hour"),
    ]
    assert "shop.a" in run("list", "--database", url).output

    assert run("retry", "--database", url, "--id", str(rows[0]["id"])).output == "1 rows are due again\n"
    assert (
        run("drop", "--database", url, "--id", str(rows[1]["id"]), "--yes").output == "1 rows are dropped\n"
    )
    told = json.loads(run("stats", "--database", url, "--json").output)
    assert (told["pending"], told["parked"]) == (2, 0)


def test_which_rows_must_be_said(url: str) -> None:
    assert run("retry", "--database", url).exit_code == 2
    assert "Missing option '--reason'" in run("retry", "--all").output


def test_a_database_without_an_outbox_says_the_mend(tmp_path: Path) -> None:
    ended = run("stats", "--database", f"sqlite:///{tmp_path / 'empty.sqlite'}")

    assert "amends migrate (--participant for a service" in str(ended.exception)
