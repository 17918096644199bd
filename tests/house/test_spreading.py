"""The order in which the tests run side by side."""

from __future__ import annotations

from tests.spreading import spread


def test_every_process_begins_with_a_long_one_and_none_is_lost() -> None:
    longest, others = ["a", "b", "c", "d", "e"], [str(number) for number in range(17)]

    order = spread(longest, others, 4)

    pieces = [order[:5], order[5:10], order[10:16], order[16:]]
    assert [piece[0] for piece in pieces] == ["a", "b", "c", "d"]
    assert pieces[3][1] == "e"
    assert sorted(order) == sorted([*longest, *others])
    assert [one for one in order if one in others] == others


def test_in_one_process_the_long_ones_come_first() -> None:
    assert spread(["a", "b"], ["1", "2"], 1) == ["a", "b", "1", "2"]


def test_few_tests_for_many_processes_are_all_run() -> None:
    assert sorted(spread(["a", "b", "c"], ["1"], 4)) == ["1", "a", "b", "c"]
    assert spread([], [], 4) == []
