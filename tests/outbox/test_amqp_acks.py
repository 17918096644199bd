"""Acknowledging several deliveries at once, without one that is still in work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amends.outbox.drivers.amqp_acks import Acknowledgements, Unsettled


@pytest.fixture
def unsettled() -> Unsettled:
    """A channel with the deliveries 1 to 10."""
    return _ten()


def _ten() -> Unsettled:
    unsettled = Unsettled()
    for tag in range(1, 11):
        unsettled.delivered(tag)
    return unsettled


def test_a_run_from_the_first_is_one_acknowledgement(unsettled: Unsettled) -> None:
    assert unsettled.settle([(False, [3, 1, 2])]) == Acknowledgements(ack_up_to=3)


def test_what_lies_beyond_a_gap_is_acknowledged_one_by_one(unsettled: Unsettled) -> None:
    assert unsettled.settle([(False, [1, 2, 4, 6])]) == Acknowledgements(ack_up_to=2, ack=(4, 6))


def test_the_gap_closes_over_what_was_settled_before(unsettled: Unsettled) -> None:
    unsettled.settle([(False, [2, 3])])

    assert unsettled.settle([(False, [1, 4])]) == Acknowledgements(ack_up_to=4)


def test_a_requeued_delivery_is_no_gap_and_goes_first(unsettled: Unsettled) -> None:
    assert unsettled.settle([(False, [1, 3]), (True, [2])]) == Acknowledgements(requeue=(2,), ack_up_to=3)


def test_the_tag_of_a_multiple_is_never_one_that_was_settled_before(unsettled: Unsettled) -> None:
    """RabbitMQ closes the channel for a tag it no longer knows."""
    unsettled.settle([(False, [2, 3])])

    assert unsettled.settle([(False, [1])]) == Acknowledgements(ack_up_to=1)


def test_unknown_and_repeated_tags_are_ignored(unsettled: Unsettled) -> None:
    unsettled.settle([(False, [1])])

    assert unsettled.settle([(False, [0, -1, 1, 11]), (True, [1, 2, 2]), (False, [2])]) == Acknowledgements(
        (2,)
    )


batches = st.lists(st.tuples(st.booleans(), st.lists(st.integers(-1, 12), max_size=6)), max_size=3)


@given(st.lists(batches, max_size=8))
def test_the_broker_settles_exactly_what_was_said_and_nothing_twice(
    rounds: list[list[tuple[bool, list[int]]]],
) -> None:
    unsettled = _ten()
    held = set(range(1, 11))
    said: set[int] = set()
    for one_round in rounds:
        said |= {tag for _, tags in one_round for tag in tags if 1 <= tag <= 10}
        sent = unsettled.settle(one_round)
        for tag in sent.requeue:
            held.remove(tag)
        if sent.ack_up_to is not None:
            assert sent.ack_up_to in held
            held = {tag for tag in held if tag > sent.ack_up_to}
        for tag in sent.ack:
            held.remove(tag)
        assert held == set(range(1, 11)) - said
