"""The invariants, held against thousands of random sagas; and the explorer held against machines with a guard less."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.saga.exploring import Run
from tests.saga.mutants import MUTANTS, Mutant, install

RUNS = 1_500
RUNS_PER_MUTANT = 2_000


def explored(seeds: range) -> Counter[str]:
    """The ends of these runs, by status. Raises: AssertionError that names the seed."""
    ends: Counter[str] = Counter()
    for seed in seeds:
        try:
            ends[Run(seed).explore().status.value] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}; Run({seed}).explore() repeats it") from error
    return ends


def test_no_run_breaks_an_invariant():
    ends = explored(range(RUNS))

    # Both ends are common, so both were really tried.
    assert ends["completed"] > RUNS / 5
    assert ends["compensated"] > RUNS / 5


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_machine_with_a_guard_less_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    install(mutant, monkeypatch)

    with pytest.raises(AssertionError, match="seed"):
        explored(range(RUNS_PER_MUTANT))
