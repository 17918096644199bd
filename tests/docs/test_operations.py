"""docs/operations: the statements and commands of the runbooks work on what they are meant for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final
from uuid import uuid4

import click
import pytest
from sqlalchemy import Engine

from amends.db.cli_root import root
from amends.db.engines import transaction

FOLDER: Final = Path(__file__).parents[2] / "docs" / "operations"
TEXT: Final = "\n".join(page.read_text("utf-8") for page in sorted(FOLDER.glob("*.md")))
STATEMENTS: Final = re.findall(r"^```sql (\w+)\n(.*?)^```$", TEXT, re.M | re.S)
# `amends ...` in backticks, with whatever stands for a value.
COMMANDS: Final = sorted(set(re.findall(r"`(amends [a-z]+ [^`\n]+)`", TEXT)))


@pytest.mark.parametrize("sql", [sql for where, sql in STATEMENTS if where == "coordinator"])
def test_a_statement_for_the_coordinators_runs_in_their_database(sql, coordinator_database):
    ran(sql, coordinator_database)


def ran(sql: str, engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.exec_driver_sql(sql.replace("%", "%%"))


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_line_takes_every_command_of_the_pages(line):
    words = shlex.split(re.sub(r"\bID\b", str(uuid4()), line.replace("...", "why")))[1:]
    command: click.Command = root
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]

    command.make_context("amends", words)


def test_every_page_that_is_pointed_to_is_there():
    for name in re.findall(r"`((?:docs|deploy)/[\w./-]+|[A-Z]+\.md)`", TEXT):
        if name != "deploy/secrets/grafana_password" and name != "deploy/secrets/broker_password":
            assert (FOLDER.parents[1] / name).exists(), name
