"""The machine alone, in random families of sagas: the invariants; and a part of a saga comes to the same as all of it.

Machines with a guard less are the simulator's matter (`tests/simulating/test_mutants.py`).
"""

from __future__ import annotations

from collections import Counter

from tests.saga.exploring import Run

RUNS = 300
RUNS_IN_PARTS = 250


def explored(seeds: range, *, partly: bool = False) -> Counter[str]:
    """The ends of these runs, by status. Raises: AssertionError that names the seed."""
    ends: Counter[str] = Counter()
    for seed in seeds:
        run = Run(seed, partly=partly)
        try:
            ends[run.explore().status.value] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}; Run({seed}).explore() repeats it") from error
        ends["children"] += len(run.lives) - 1
        ends["overridden"] += any(life.saga.overrides for life in run.lives.values())
    return ends


def test_no_run_breaks_an_invariant():
    ends = explored(range(RUNS))

    # Both ends are common, so both were really tried; and so are children and operators.
    assert ends["completed"] > RUNS / 5
    assert ends["compensated"] > RUNS / 5
    assert ends["children"] > RUNS / 3
    assert ends["overridden"] > RUNS / 20


def test_a_part_of_a_saga_comes_to_the_same_as_all_of_it():
    """Every event is decided twice: with every step at hand, and with those alone that `NotLoaded` asks for."""
    explored(range(5_000, 5_000 + RUNS_IN_PARTS), partly=True)
