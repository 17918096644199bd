"""Batches are let grow under load, and only then."""

from __future__ import annotations

from amends.outbox.gathering import LONGEST_S, Gathering


def test_a_message_alone_never_waits_for_others():
    gathering = Gathering(load=8)

    for _ in range(3):
        gathering.done(messages=1, seconds=10.0)
        assert gathering.wait_s == 0.0


def test_from_the_load_on_it_waits_as_long_as_the_last_batch_took():
    gathering = Gathering(load=8)

    gathering.done(messages=7, seconds=0.02)
    below = gathering.wait_s
    gathering.done(messages=8, seconds=0.02)

    assert (below, gathering.wait_s) == (0.0, 0.02)


def test_it_never_waits_longer_than_its_limit_and_stops_when_the_load_is_gone():
    gathering = Gathering(load=8)

    gathering.done(messages=500, seconds=3.0)
    under_load = gathering.wait_s
    gathering.done(messages=0, seconds=0.0)

    assert (under_load, gathering.wait_s) == (LONGEST_S, 0.0)
