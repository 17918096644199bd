"""How often a sweep looks: a start must not wait for the next look of an idle sweep, nor an idle one burn a core."""

from __future__ import annotations

import pytest

from amends.outbox.looks import Looks

FIRST_S, LONGEST_S = 0.005, 0.1


@pytest.fixture
def looks() -> Looks:
    return Looks(FIRST_S, LONGEST_S)


def test_where_rows_come_one_by_one_a_sweep_looks_soon(looks: Looks) -> None:
    """Guard: what was found lately counts, not what the last look found."""
    now = 100.0
    looks.next_s(now, found=True)

    pauses = [looks.next_s(now + passed, found=False) for passed in (0.01, 0.05, 0.09)]

    assert pauses == [FIRST_S] * 3


def test_after_a_lull_a_sweep_looks_ever_later(looks: Looks) -> None:
    """Guard: the doubling, and that it begins anew with the next row."""
    looks.next_s(100.0, found=True)

    pauses = [looks.next_s(101.0, found=False) for _ in range(8)]

    assert pauses[0] <= 2 * FIRST_S
    assert all(0.8 * LONGEST_S <= pause <= LONGEST_S for pause in pauses[5:])
    assert looks.next_s(102.0, found=True) == FIRST_S
    assert looks.next_s(103.0, found=False) <= 2 * FIRST_S


def test_a_sweep_that_never_found_anything_soon_looks_seldom(looks: Looks) -> None:
    spent_s = sum(looks.next_s(100.0 + look, found=False) for look in range(20))

    assert spent_s > 10 * LONGEST_S
