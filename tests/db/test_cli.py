"""The `amends` command: its subcommands come from the packages, its errors are one message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from sqlalchemy import make_url

from amends.db.engines import open_engine
from amends.db.schema import SCHEMAS, require_schema
from tests.waiting import DEADLINE_S

NEWEST = SCHEMAS["coordinator"].needs


def _amends(
    *arguments: str, env: dict[str, str] | None = None, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    # The variables of whoever runs the tests stay out.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AMENDS_")}
    return subprocess.run(
        [sys.executable, "-m", "amends.db.cli", *arguments],
        env={**clean, **(env or {})},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def test_it_tells_its_version() -> None:
    assert _amends("--version").stdout == f"amends, version {version('amends')}\n"


def test_its_help_lists_every_command_of_every_package() -> None:
    ended = _amends("--help")

    assert ended.returncode == 0, ended.stderr
    for entry in entry_points(group="amends.commands"):
        assert f"\n  {entry.name} " in ended.stdout
    assert "cannot be loaded" not in ended.stdout


def test_a_command_is_loaded_only_when_it_is_called() -> None:
    program = """
import sys
from amends.db.cli_root import root
root(["migrate", "--help"], standalone_mode=False)
print("fastapi" in sys.modules or "amends.coordinator.cli" in sys.modules, file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stderr == "False\n"


@pytest.mark.parametrize(
    ("missing", "extra"), [("click", "cli"), ("alembic", "migrations"), ("psycopg", "postgresql")]
)
def test_a_missing_extra_prints_its_pip_line(missing: str, extra: str, database_url: str) -> None:
    program = f"""
import sys
sys.modules["{missing}"] = None
sys.argv[1:] = ["migrate", "--database", "{database_url}"]
from amends.db.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"pip install 'amends[{extra}]'" in ended.stderr


def test_help_works_where_an_extra_is_missing_and_says_so() -> None:
    program = """
import sys
sys.modules["fastapi"] = None
sys.modules["uvicorn"] = None
sys.argv[1:] = ["--help"]
from amends.db.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert "migrate" in ended.stdout


def test_our_own_errors_are_one_message_and_exit_1() -> None:
    # Guard: `is_ours` in `main`.
    ended = _amends("migrate")

    assert ended.returncode == 1
    assert ended.stderr.startswith("amends: AMENDS_DATABASE_URL is not set")
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    ended = _amends("migrate", "--database", "postgresql://someone:hush@127.0.0.1:1/nowhere")

    assert ended.returncode == 1
    assert "127.0.0.1:1/nowhere is away" in ended.stderr
    assert "hush" not in ended.stderr + ended.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    ended = _amends("amend")

    assert ended.returncode == 2
    assert "No such command 'amend'" in ended.stderr


def test_migrate_brings_a_database_up_and_says_what_it_did(database_url: str, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(database_url)

    first = _amends("migrate", "--json", env={"AMENDS_DATABASE_URL_FILE": str(secret)})
    again = _amends("migrate", "--database", database_url)

    assert json.loads(first.stdout) == {"schema": "coordinator", "before": None, "after": NEWEST}
    assert f"at {NEWEST}, nothing to do" in again.stdout
    engine = open_engine(database_url)
    require_schema(engine, "coordinator")
    engine.dispose()


def test_migrate_sets_up_a_participant_on_sqlite_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'service.sqlite'}"

    ended = _amends("migrate", "--participant", "--database", url)

    assert ended.returncode == 0, ended.stderr
    assert f"nothing -> {SCHEMAS['participant'].needs}" in ended.stdout
    engine = open_engine(url)
    require_schema(engine, "participant")
    engine.dispose()


def test_migrate_refuses_a_coordinator_on_sqlite() -> None:
    ended = _amends("migrate", "--database", "sqlite:///some.sqlite")

    assert ended.returncode == 1
    assert "the coordinator's database is PostgreSQL" in ended.stderr


def test_migrate_goes_back_only_when_told_yes(database_url: str) -> None:
    _amends("migrate", "--database", database_url)

    asked = _amends("migrate", "--database", database_url, "--down-to", "base", typed="n\n")
    unknown = _amends("migrate", "--database", database_url, "--down-to", "0815", "--yes")
    done = _amends("migrate", "--database", database_url, "--down-to", "base", "--yes", "--json")

    assert (asked.returncode, unknown.returncode, done.returncode) == (1, 1, 0)
    assert f"/{make_url(database_url).database} back to base?" in asked.stderr
    assert "no revision '0815'; known: base, 0001, 0002" in unknown.stderr
    assert json.loads(done.stdout) == {"schema": "coordinator", "before": NEWEST, "after": None}
