"""`amends simulate`: what it prints, how it ends, and that a failing run repeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from amends.coordinator.cli.simulate import simulate
from amends.coordinator.simulating import many
from tests.checking.mutating import Mutant, install
from tests.waiting import eventually

# Takes a dead owner for living: its rows are swept late.
BROKEN = Mutant(
    "O2: a dead owner's rows are swept",
    "simulating.outboxes",
    "if beat is not None and beat > now - _RULES.dead_s * 1000:",
    "if True:",
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(simulate, list(arguments))


def a_failing_seed() -> int:
    """The first run that breaks an invariant."""
    for seed in range(1_000):
        if many.simulate(range(seed, seed + 1)).failures:
            return seed
    raise AssertionError("nobody misses the guard that was taken out")


def test_runs_that_hold_are_counted():
    said = run("--seed", "10", "--runs", "30", "--jobs", "1")

    assert said.exit_code == 0
    assert "30 of 30 runs from seed 10: invariants 1 to 13 and 15 to 17 hold, every saga ends" in said.output
    assert "broker wiped" in said.output


def test_processes_come_to_the_same():
    """Two processes and one: every run depends on its seed alone."""
    one, two = (run("--runs", "60", "--jobs", jobs, "--json") for jobs in ("1", "2"))

    assert json.loads(one.output) == json.loads(two.output)


def test_one_run_is_told_as_a_timeline():
    said = run("--seed", "4", "--runs", "1")

    lines = said.output.splitlines()
    assert "client           starts root" in lines[0]
    assert any("everything is healed" in line for line in lines)
    assert lines[-1].startswith("1 of 1 runs from seed 4")


def test_a_failing_run_tells_its_seed_and_invariant_and_repeats(monkeypatch: pytest.MonkeyPatch):
    install(BROKEN, monkeypatch)
    seed = a_failing_seed()

    many = run("--seed", str(seed), "--runs", "2", "--jobs", "1")
    again = run("--seed", str(seed), "--runs", "1")

    assert (many.exit_code, again.exit_code) == (1, 1)
    told = next(line for line in many.output.splitlines() if line.startswith("seed "))
    assert told.startswith(f"seed {seed}: invariant O2: ")
    assert told in again.output.splitlines()
    assert f"repeat it: amends simulate --seed {seed} --runs 1" in many.output


def test_a_failing_run_as_json(monkeypatch: pytest.MonkeyPatch):
    install(BROKEN, monkeypatch)
    seed = a_failing_seed()

    said = run("--seed", str(seed), "--runs", "1", "--json")

    (line,) = said.output.splitlines()
    told = json.loads(line)
    assert (said.exit_code, told["holds"], told["done"]) == (1, False, 1)
    assert (told["failures"][0]["seed"], told["failures"][0]["invariant"]) == (seed, "O2")


def test_an_interrupt_tells_what_was_done(tmp_path: Path):
    """Ctrl-C reaches every process of the command, as from a terminal."""
    command = [str(Path(sys.executable).with_name("amends")), "simulate", "--runs", "100000", "--jobs", "2"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
    ) as started:
        assert started.stderr is not None
        try:
            assert "Ctrl-C ends them" in started.stderr.readline()
            os.killpg(started.pid, signal.SIGINT)
            said = started.stderr.read()
        finally:
            if started.poll() is None:
                started.kill()

    assert "of 100,000 runs from seed 0" in said
    assert started.returncode == 130


def test_its_processes_end_with_it_even_when_it_is_killed(tmp_path: Path):
    """Guard: the thread of many._follow_the_parent; a pool's processes outlive a kill -9 of who made it."""
    command = [str(Path(sys.executable).with_name("amends")), "simulate", "--runs", "100000", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path) as started:
        try:
            children = eventually(lambda: psutil.Process(started.pid).children() or None)
        finally:
            started.kill()

    try:
        eventually(lambda: not psutil.wait_procs(children, timeout=0)[1], what="its processes to end")
    finally:
        for child in children:
            if child.is_running():
                child.kill()
