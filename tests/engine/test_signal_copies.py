"""Copies of a signal are told by its name and id, before its saga begins as after (S1)."""

from __future__ import annotations

import pytest

from amends.coordinator import Saga, chain, wait
from amends.coordinator.engine.contract import SignalVerdict
from tests.engine.test_signals import signal
from tests.engine.world import World, start

BOTH = Saga("both", chain(wait("paid"), wait("approved")), version=1)


@pytest.mark.parametrize("begins", [0, 1, 2], ids=["first", "between", "last"])
def test_signals_of_two_names_with_one_id_are_two_whenever_the_saga_begins(world: World, begins: int) -> None:
    """S1: start and signal commute. Guard: the name beside the id in signalling._to_nobody.

    Without it the second is a copy before the start, and not after it: the saga waits for ever.
    """
    world.register(BOTH)
    body = start("both", key="k")

    for number, name in enumerate(("approved", "paid", "")):
        if number == begins:
            world.start_saga("both", key="k")
        if name:
            verdict = signal(world, body.saga, name, number, id_="order-1").verdict
            assert verdict in (SignalVerdict.KEPT, SignalVerdict.ACCEPTED)

    world.wait_for(body.saga, "completed", 10)
    assert [world.state(body.saga).steps[name].result for name in ("approved", "paid")] == [0, 1]
    assert signal(world, body.saga, "paid", 1, id_="order-1").verdict is SignalVerdict.DUPLICATE
    assert signal(world, body.saga, "paid", 1, id_="order-2").verdict is SignalVerdict.ENDED


def test_a_rejected_start_keeps_signals_of_two_names_with_one_id(world: World) -> None:
    """S1, S2. Guard: the name in signalling._is_kept; TOOK by paths."""
    world.register(Saga("both", chain(wait("paid"), wait("approved")), version=1, input={"type": "object"}))
    body = start("both", 7, key="k")
    world.send_start(body)
    world.wait_for(body.saga, "rejected")

    kept = [
        signal(world, body.saga, name, id_="order-1").verdict for name in ("approved", "approved", "paid")
    ]
    world.start_saga("both", {}, key="k")

    assert kept == [SignalVerdict.KEPT, SignalVerdict.DUPLICATE, SignalVerdict.KEPT]
    world.wait_for(body.saga, "completed", 10)
    assert signal(world, body.saga, "never", id_="order-1").verdict is SignalVerdict.ENDED
