"""What a service loads when it imports the SDK: it pays for that in seconds and memory, in every process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.house.sources import ROOT

# What only the coordinator, the command line or a broker's driver needs.
HEAVY = {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "alembic", "click", "rich", "jsonschema_rs"}
HEAVY |= {"kombu", "amqp", "psycopg", "prometheus_client", "cronsim", "amends.db.migrations"}

LOADED = """
import json, sys
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(statement: str) -> list[str]:
    """The modules that a fresh interpreter loads for this."""
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement=statement)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules: list[str] = json.loads(ended.stdout)
    return modules


@pytest.mark.parametrize(
    ("statement", "own_most", "most"),
    [
        ("import amends.outbox.message", 4, 60),
        ("import amends.participants", 50, 220),
        ("from amends.outbox import put", 30, 420),
    ],
)
def test_the_sdk_loads_what_it_needs_and_no_more(statement: str, own_most: int, most: int) -> None:
    """Guard: imports inside functions where a part is seldom needed."""
    modules = loaded(statement)

    own = [name for name in modules if name.startswith("amends.")]
    assert not HEAVY & set(modules)
    assert len(own) <= own_most, own
    assert len(modules) <= most, len(modules)
