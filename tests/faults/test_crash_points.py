"""`kill -9` at every named crash point: after restart and drain the invariants hold.

One town lives through all of it. In each round a coordinator, a participant and the relay are armed at one point each;
orders come until each has killed itself there; then it is started again. A point that nobody reaches fails the test,
so the list in `amends.db.crashpoints` is what is really visited.
"""

from __future__ import annotations

import time
from itertools import zip_longest
from typing import Final

import pytest

from amends.db.crashpoints import CRASH_POINTS
from amends.demo.orders import own_orders
from tests.faults.town import Town, assert_all_hold, town
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer

ROUND_S: Final = 45.0
AT_ONCE: Final = 4
LOOK_S: Final = 0.05
# Where an external call is announced: the carrier's.
EXTERNAL: Final = ("participant.intent.before", "participant.intent.after")


def rounds() -> list[dict[str, str]]:
    """Which process kills itself where, round by round: the ends of the lists run alone."""
    coordinator = [point for point in CRASH_POINTS if point.startswith("coordinator.")]
    relay = [point for point in CRASH_POINTS if point.startswith("relay.")]
    external = [point for point in CRASH_POINTS if point in EXTERNAL]
    internal = [point for point in CRASH_POINTS if point.startswith("participant.") and point not in EXTERNAL]
    columns = zip_longest(coordinator, internal, external, relay)
    names = ("coordinator", "payments", "shipping", "relay")
    return [{name: point for name, point in zip(names, column, strict=True) if point} for column in columns]


def live_through(place: Town, armed: dict[str, str]) -> None:
    """One round: arm, order until all have died; who died is started again at once, unarmed."""
    for name, point in armed.items():
        place.end(name, kill=True)
        place.start(name, crash_at=point)
    alive = dict(armed)

    def all_died() -> bool:
        for name in [name for name in alive if not place.running(name)]:
            del alive[name]
            place.end(name)
            place.start(name)
        if alive and place.placed - place.ended() < 3 * AT_ONCE:
            place.place(AT_ONCE)
        return not alive

    began = time.monotonic()
    while not all_died():
        assert time.monotonic() - began < ROUND_S, (
            f"nobody came to {alive} within {ROUND_S:g} s: {place.tails()}"
        )
        time.sleep(LOOK_S)


@pytest.mark.timeout(600)
def test_a_kill_at_every_crash_point_loses_nothing(
    postgres: PostgresServer, rabbit: RabbitServer, prefix: str
) -> None:
    """Rules O1 to O3, B4, E1: what is durable is repeated, what is not never happened.

    Seen to fail when the worker acknowledges before its commit, and when confirmed rows are deleted before the confirm.
    """
    with town(postgres.url, rabbit.url, prefix, own_orders()) as place:
        place.start_all()
        for armed in rounds():
            live_through(place, armed)
        place.wait_until_ended(120)

        assert_all_hold(place.verdicts())
