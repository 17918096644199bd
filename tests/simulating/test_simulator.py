"""Whole towns, thousands of times: nothing breaks an invariant, everything went wrong often, and every run repeats."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from amends.coordinator.simulating.many import simulate

RUNS = 2_000
PARTS = 10

# What must have happened in each part, and how often at least for a hundred runs: else it was not really tried.
COMMON = {
    "sagas": 150,
    "children": 50,
    "completed": 60,
    "compensated": 100,
    "overridden": 10,
    "acts": 80,
    "signals": 80,
    "crash": 80,
    "killed": 20,
    "frozen": 10,
    "commit of unknown outcome, committed": 25,
    "commit of unknown outcome, not committed": 25,
    "database away": 25,
    "broker wiped": 10,
    "broker restarted": 10,
    "messages lost": 5,
    "connection lost in a publish": 5,
    "nack": 5,
    "doubled message": 30,
    "redelivered": 50,
    "external call broke off": 10,
    "participant fails": 5,
    "timeouts and back-offs": 50,
    "admissions": 20,
    "hours pass": 10,
    "database clock jumps": 10,
    "pruned": 100,
    "end": 40,
}


@pytest.mark.parametrize("part", range(PARTS))
def test_no_run_breaks_an_invariant(part: int):
    """Every guard of the machine and of what stands around it: `test_mutants.py` takes them out one by one."""
    each = RUNS // PARTS

    simulated = simulate(range(part * each, (part + 1) * each))

    assert simulated.failures == []
    seldom = {
        what: simulated.counts[what]
        for what, least in COMMON.items()
        if simulated.counts[what] < least * each / 100
    }
    assert seldom == {}


TELL = """
import hashlib
from amends.coordinator.simulating.many import story
told = [str(story(seed)) for seed in range(3_000, 3_040)]
print(len(told), hashlib.sha256("".join(told).encode()).hexdigest())
"""


def test_a_run_is_the_same_in_another_process():
    """Fails if anything depends on the order of a set, or on a clock, an id or chance of the process's own."""
    told = {
        subprocess.run(
            [sys.executable, "-c", TELL],
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }

    assert len(told) == 1
