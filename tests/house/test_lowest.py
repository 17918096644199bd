"""`make test-lowest` tests what pyproject.toml promises: its lower bounds, and nothing that is kept elsewhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.house.sources import ROOT

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lowest(*extras: str) -> dict[str, str]:
    told = subprocess.run(
        [sys.executable, ROOT / "tools" / "lowest", *extras], capture_output=True, text=True, check=True
    ).stdout
    return dict(line.split("==") for line in told.splitlines())


def test_every_requirement_of_the_sdk_is_tested_at_its_lower_bound() -> None:
    promised = dict(line.split(">=") for line in _PROJECT["dependencies"])

    assert lowest() == promised


def test_an_extra_brings_those_it_holds() -> None:
    found = lowest("embedded", "mysql")

    assert {"pymysql", "psycopg", "alembic", "click"} <= set(found)


@pytest.mark.parametrize("extra", ["postgresql", "migrations", "cli", "django", "celery", "mysql", "http"])
def test_every_extra_of_the_sdk_has_lower_bounds_alone(extra: str) -> None:
    """An upper bound, or none, would be a promise that nobody tests."""
    wanted = _PROJECT["optional-dependencies"][extra]

    assert all(">=" in line and "<" not in line for line in wanted), wanted
    assert lowest(extra)


def test_the_floor_is_what_the_design_says() -> None:
    """Other people's environments hold these."""
    found = lowest("postgresql", "django")

    assert (found["sqlalchemy"], found["kombu"], found["django"]) == ("2.0", "5.3", "4.2")
    assert found["psycopg"].startswith("3.1")
    assert lowest("celery")["celery"] == "5.4"
