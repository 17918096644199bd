"""Every guard is missed: machines, engines, outboxes, participants with one less break an invariant in some run."""

from __future__ import annotations

import pytest

from amends.coordinator.simulating.many import Simulated, simulate
from tests.checking.mutating import Mutant, install
from tests.saga import mutants as of_the_machine
from tests.simulating.killing import KILLED_BY
from tests.simulating.mutants import MUTANTS

RUNS_MAX = 1_500
_CHUNK = 20


@pytest.mark.parametrize("mutant", of_the_machine.MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_machine_with_a_guard_less_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    install(mutant, monkeypatch, package=of_the_machine.PACKAGE)

    assert killed_by(mutant) is not None, f"{RUNS_MAX} runs without {mutant.rule!r}, and nobody misses it"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_what_stands_around_the_machine_is_caught_with_a_guard_less(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch
):
    install(mutant, monkeypatch)

    assert killed_by(mutant) is not None, f"{RUNS_MAX} runs without {mutant.rule!r}, and nobody misses it"


def killed_by(mutant: Mutant) -> int | None:
    """The first run that breaks an invariant: the one that did so last time, or else the first of many."""
    known = KILLED_BY.get(mutant.rule)
    if known is not None and simulate(range(known, known + 1)).failures:
        return known
    for start in range(0, RUNS_MAX, _CHUNK):
        simulated: Simulated = simulate(range(start, start + _CHUNK))
        if simulated.failures:
            return simulated.failures[0].seed
    return None
