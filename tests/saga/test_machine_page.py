"""`docs/machine.md` draws what the machine does: every arrow is taken, and nothing moves where there is none."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from amends.coordinator.saga.state import Phase, Saga, Status
from tests.saga.exploring import Run
from tests.saga.moves import KINDS, Moves, read, watch

PAGE = Path(__file__).parents[2] / "docs" / "machine.md"
ARROW = re.compile(r"^ +([^ :]+) --> ([^\s:]+)", re.MULTILINE)
OUTSIDE = "[*]"
RUNS = 400
WATCHED = 500

Arrows = set[tuple[str, str]]


def drawn(number: int) -> Arrows:
    """The arrows of the page's n-th picture."""
    picture = PAGE.read_text(encoding="utf-8").split("```mermaid")[number + 1].split("```")[0]
    return {(start, end) for start, end in ARROW.findall(picture) if end != OUTSIDE}


def reachable(arrows: Arrows) -> Arrows:
    """One event may take several arrows."""
    onward: dict[str, set[str]] = defaultdict(set)
    for start, end in arrows:
        onward[start].add(end)
    found = set(arrows)
    todo = list(arrows)
    while todo:
        start, end = todo.pop()
        for further in onward[end]:
            if (start, further) not in found:
                found.add((start, further))
                todo.append((start, further))
    return found


@pytest.fixture(scope="module")
def taken() -> tuple[Arrows, Arrows]:
    """The steps that statuses and phases took in many random sagas."""
    statuses: Arrows = set()
    phases: Arrows = set()

    class Watched(Run):
        def saw(self, was: Saga, saga: Saga) -> None:
            statuses.add((was.status.value if was.seq else OUTSIDE, saga.status.value))
            for path, step in saga.steps.items():
                before = was.steps.get(path)
                phases.add((before.phase.value if before else OUTSIDE, step.phase.value))

    for seed in range(RUNS):
        Watched(seed).explore()
    return (
        {arrow for arrow in statuses if arrow[0] != arrow[1]},
        {arrow for arrow in phases if arrow[0] != arrow[1]},
    )


@pytest.mark.parametrize("number", [0, 1], ids=["statuses", "phases"])
def test_every_arrow_of_the_page_is_taken(taken: tuple[Arrows, Arrows], number: int):
    assert drawn(number) - taken[number] == set()


@pytest.mark.parametrize("number", [0, 1], ids=["statuses", "phases"])
def test_nothing_moves_where_the_page_has_no_way(taken: tuple[Arrows, Arrows], number: int):
    assert taken[number] - reachable(drawn(number)) == set()


def test_every_status_and_phase_is_on_the_page():
    ends = {end for _, end in drawn(0)}
    assert ends == {status.value for status in Status} - {"rejected"}  # A rejected saga has no machine.
    assert {end for _, end in drawn(1)} == {phase.value for phase in Phase}


@pytest.fixture(scope="module")
def moves() -> Moves:
    return watch(range(WATCHED))


@pytest.mark.parametrize("kind", KINDS)
def test_every_move_that_is_seen_is_in_the_tables_of_the_page(kind: str, moves: Moves):
    """`python -m tests.saga.moves` writes them anew."""
    told = read(PAGE.read_text(encoding="utf-8"), kind)
    seen = {key: then for key, then in moves.items() if key[0] == kind}

    assert {key: then - told[key] for key, then in seen.items() if then - told[key]} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_of_the_page_tell_little_that_is_never_seen(kind: str, moves: Moves):
    """Rare moves need more runs than a test has time for; what no run makes any more shows as a table that is off."""
    told = read(PAGE.read_text(encoding="utf-8"), kind)

    assert len(told.keys() & moves.keys()) >= len(told) / 2
