"""`amends check`: what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from amends.coordinator.cli.check import check

ROOT = Path(__file__).parents[2]
SAGAS = """
from amends.coordinator import Saga, chain, pivot, sleep, step, wait

reserve = step("reserve", to="inventory", undo="release")
sound = Saga("sound", chain(reserve, step("charge", to="payments", undo="refund")), version=1)
leaves = Saga("leaves", chain(reserve, step("charge", to="payments", undo=None), step("ship", to="shop", undo="stop")),
              version=1)
late = Saga("late", chain(wait("approved", timeout="2h"), step("a", to="x", undo="u", timeout="1h"),
            sleep("3h"), step("b", to="x", undo="u")), version=1, deadline="1h")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of sagas in the current directory; its name is of this test alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"sagas_{uuid4().hex[:8]}"
    (tmp_path / f"{name}.py").write_text(SAGAS)
    return name


def test_the_readme_shows_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    readme = (ROOT / "README.md").read_text()
    shown = readme.split("$ amends check examples.order.saga:place_order\n")[1].split("```")[0]
    saga = (ROOT / "examples/order/saga.py").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"sagas_{uuid4().hex[:8]}"
    Path(f"{name}.py").write_text(saga.replace('undo="refund"', "undo=None"))

    said = run(f"{name}:place_order")

    assert shown in said.output


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, [*arguments, "--mishaps", "1", "--acts", "0", "--seconds", "600"])


def test_a_sound_saga_passes_and_says_how_far_it_was_looked(module: str):
    said = run(f"{module}:sound")

    assert said.exit_code == 0, said.output
    assert "invariants 1 to 9 hold, every run ends" in said.output
    assert "all there are within 1 mishaps and 0 operator's acts a run" in said.output
    assert "can need an operator at reserve" in said.output


def test_what_is_left_behind_is_shown_as_the_shortest_run(module: str):
    said = run(f"{module}:leaves")

    assert said.exit_code == 1
    assert "compensated, and charge stands: nothing undoes it. The shortest run:" in said.output
    assert "    6  shop refuses ship\n" in said.output


def test_what_may_be_left_is_allowed_by_name(module: str):
    assert run(f"{module}:leaves", "--allow-left", "charge").exit_code == 0
    assert run(f"{module}:leaves", "--allow-left", "reserve").exit_code == 1


def test_a_step_that_is_not_there_cannot_be_allowed(module: str):
    """Without `_known_steps` a misspelt name is passed over in silence."""
    said = run(f"{module}:leaves", "--allow-left", "chrage")

    assert said.exit_code == 2
    assert "there is no step 'chrage'; steps: charge, reserve, ship" in said.output


def test_who_gives_up_is_said_by_the_policy_not_by_how_often_the_model_tried(module: str):
    said = run(f"{module}:sound")

    assert "undo: given up after 1d: no answer within 30s" in said.output
    assert "attempts" not in said.output


def test_bounds_that_cut_it_short_are_said(module: str):
    said = run(f"{module}:sound", "--states", "20")

    assert "not all there are within" in said.output
    assert "not even the runs with no mishap and no act are complete; nothing found so far" in said.output
    assert "hold" not in said.output
    assert (
        "complete up to no mishap and no act; nothing found so far"
        in run(f"{module}:sound", "--states", "200").output
    )


def test_what_can_never_succeed_is_warned_of(module: str):
    said = run(f"{module}:late", "--states", "10")

    for warned in (
        "wait 'approved': its timeout, 2h, is not shorter than the saga's deadline, 1h",
        "step 'a': its timeout, 1h, is not shorter than the saga's deadline, 1h",
        "saga: it sleeps for 3h before its point of no return, and has 1h",
    ):
        assert warned in said.output


def test_json_has_all_of_it_in_one_line_a_saga(module: str):
    said = run(f"{module}:sound", f"{module}:leaves", "--json")

    sound, leaves = (json.loads(line) for line in said.stdout.splitlines())
    assert (sound["saga"], sound["holds"], sound["complete"], sound["left"]) == ("sound", True, True, [])
    assert (leaves["holds"], leaves["left"][0]["path"]) == (False, "charge")
    assert leaves["left"][0]["run"][0] == "the saga starts"
    assert said.exit_code == 1
