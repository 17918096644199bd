"""Matching the broker's confirms, refusals and returns to what was published."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amends.outbox.drivers.amqp_confirms import InFlight, Pending
from amends.outbox.ports import Fate
from tests.outbox.driving import fates, message


def _in_flight(count: int) -> InFlight:
    in_flight = InFlight()
    for token in range(101, 101 + count):
        in_flight.add(Pending(token, message("queue", message_id=f"m{token}"), 5.0))
    return in_flight


def test_a_single_confirm_settles_its_tag_alone() -> None:
    in_flight = _in_flight(3)

    (answer,) = in_flight.answer(2, False, Fate.CONFIRMED, 5.5)

    assert (answer.token, answer.fate, answer.confirm_s) == (102, Fate.CONFIRMED, 0.5)
    assert len(in_flight) == 2


def test_a_multiple_confirm_settles_all_before_it_but_nothing_twice() -> None:
    in_flight = _in_flight(5)
    in_flight.answer(2, False, Fate.NACKED, 6)

    assert fates(in_flight.answer(4, True, Fate.CONFIRMED, 6)) == dict.fromkeys(
        (101, 103, 104), Fate.CONFIRMED
    )
    assert in_flight.answer(4, True, Fate.CONFIRMED, 6) == []


def test_a_returned_message_is_not_confirmed_by_the_ack_that_follows() -> None:
    """O1. Fails without `mark_returned`: RabbitMQ acks what it returns."""
    in_flight = _in_flight(3)

    in_flight.mark_returned("m102", "", "queue", "NO_ROUTE")
    answers = in_flight.answer(3, True, Fate.CONFIRMED, 6)

    assert fates(answers) == {101: Fate.CONFIRMED, 102: Fate.RETURNED, 103: Fate.CONFIRMED}
    assert answers[1].reason == "NO_ROUTE"


def test_a_return_says_nothing_of_other_destinations() -> None:
    in_flight = InFlight()
    for token, queue in enumerate(("here", "there", "there")):
        in_flight.add(Pending(token, message(queue, message_id="same"), 5.0))

    in_flight.mark_returned("same", "", "there", "NO_ROUTE")

    found = fates(in_flight.answer(3, True, Fate.CONFIRMED, 6))
    assert found == {0: Fate.CONFIRMED, 1: Fate.RETURNED, 2: Fate.RETURNED}


def test_after_a_broken_channel_tags_begin_again_and_all_is_handed_out_in_order() -> None:
    in_flight = _in_flight(3)
    in_flight.answer(2, False, Fate.CONFIRMED, 6)
    in_flight.mark_returned("m103", "", "queue", "NO_ROUTE")

    taken = in_flight.take_all()
    for pending in taken:
        in_flight.add(pending)

    assert [one.token for one in taken] == [101, 103]
    assert fates(in_flight.answer(2, True, Fate.CONFIRMED, 7)) == {101: Fate.CONFIRMED, 103: Fate.CONFIRMED}


@given(st.lists(st.tuples(st.integers(1, 25), st.booleans(), st.sampled_from([Fate.CONFIRMED, Fate.NACKED]))))
def test_whatever_the_broker_says_each_message_is_settled_at_most_once(
    answers: list[tuple[int, bool, Fate]],
) -> None:
    in_flight = _in_flight(20)
    open_tags = dict.fromkeys(range(1, 21))
    for tag, multiple, fate in answers:
        expected = [one for one in open_tags if one == tag or (multiple and one <= tag)]
        settled = in_flight.answer(tag, multiple, fate, 6)
        assert [(one.token, one.fate) for one in settled] == [(100 + one, fate) for one in expected]
        for one in expected:
            del open_tags[one]
    assert len(in_flight) == len(open_tags)
