"""The pytest plugin as a project meets it: registered, light, nothing automatic, good beside xdist."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

_LOADED = """
import json, sys
import pytest
before = set(sys.modules)
import amends.testing.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_loading_the_plugin_imports_next_to_nothing() -> None:
    """Guard: the imports inside the fixtures; every pytest run of a service's project pays for the others."""
    ended = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)

    assert json.loads(ended.stdout) == ["amends", "amends.testing", "amends.testing.plugin"]


def test_it_is_registered_and_nothing_is_automatic(pytester: pytest.Pytester) -> None:
    (entry,) = entry_points(group="pytest11", name="amends")
    assert entry.value == "amends.testing.plugin"
    pytester.makepyfile("def test_it(request): assert not [n for n in request.fixturenames if 'amends' in n]")

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    listed = pytester.runpytest_subprocess("--fixtures", "-q")

    listed.stdout.fnmatch_lines(["amends_saga*"])


_PROJECT = """
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from amends.db.engines import open_engine
from amends.db.participant import create
from amends.participants import Ctx, Participant
from amends.testing import done

stock = Participant("stock")

@stock.command
def reserve(cmd: int, ctx: Ctx) -> int:
    ctx.session.execute(text("UPDATE shelf SET pieces = pieces - :cmd"), {"cmd": cmd})
    return cmd

@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('db') / 'shop.sqlite'}")
    create(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE shelf (pieces integer)"))
        connection.execute(text("INSERT INTO shelf VALUES (10)"))
    yield engine
    engine.dispose()

@pytest.fixture
def session(engine):
    with engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()

@pytest.fixture
def amends_database(session):
    return session

def pieces(session):
    return session.execute(text("SELECT pieces FROM shelf")).scalar_one()

@pytest.mark.parametrize("number", range(4))
def test_each_begins_with_ten(session, amends_participant, number):
    first = amends_participant.send(reserve, 3)
    session.commit()

    assert amends_participant.redeliver(first) == first == done(3)
    assert pieces(session) == 7
"""


def test_it_joins_a_project_s_rollback_fixture_also_spread_over_processes(pytester: pytest.Pytester) -> None:
    """Guard: SAVEPOINTs instead of commits; each test begins with what the first began with."""
    pytester.makepyfile(_PROJECT)

    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2").assert_outcomes(passed=4)
