"""How many commands a thread takes at once, without a clock of its own (B7)."""

from __future__ import annotations

from amends.participants.worker.sizing import BatchSize


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def took(size: BatchSize) -> None:
    """A full batch went well."""
    size.took(size.limit, size.limit)


def test_it_takes_as_many_as_it_may_until_it_knows_better() -> None:
    assert BatchSize(8).limit == 8


def test_one_that_was_taken_apart_halves_it_and_full_ones_let_it_grow_again() -> None:
    size = BatchSize(8)
    size.taken_apart(crosswise=False)
    assert size.limit == 4

    for _ in range(10):
        took(size)

    assert size.limit == 8


def test_it_is_never_less_than_one_and_grows_from_there() -> None:
    size = BatchSize(8)
    for _ in range(9):
        size.taken_apart(crosswise=False)
    assert size.limit == 1

    took(size)

    assert size.limit == 2


def test_the_batch_that_was_taken_apart_does_not_count_as_one_that_went_well() -> None:
    """Guard: what is compared is the limit that the thread was given."""
    size = BatchSize(8)
    size.taken_apart(crosswise=False)

    size.took(8, 8)

    assert size.limit == 4


def test_those_whose_handlers_take_long_are_taken_a_few_at_a_time() -> None:
    size = BatchSize(8)

    size.ran(0.02)
    assert size.limit == 2

    size.ran(10.0)
    assert size.limit == 1


def test_those_that_met_locks_crosswise_are_taken_alone_for_a_while() -> None:
    clock = Clock()
    size = BatchSize(8, clock)
    size.taken_apart(crosswise=True)
    assert size.limit == 1

    clock.now += 9.9
    assert size.limit == 1
    clock.now += 0.2

    assert size.limit == 4


def test_a_lane_without_batches_takes_one() -> None:
    size = BatchSize(1)
    size.took(1, 1)

    assert size.limit == 1
