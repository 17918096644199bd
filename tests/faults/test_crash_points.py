"""`kill -9` at every named crash point: after restart and drain the invariants hold.

One town lives through all of it: a coordinator, two participants and the relay kill themselves at one point after the
other, while orders come. A point that nobody reaches fails the test, so the list in `amends.db.crashpoints` is what is
really visited. Those of schedules are visited by `test_schedules.py`: an order does not come by the clock.

Every other order is a patient saga, whose commands to inventory and payments wait an hour for their answers: no timer
makes good for what a kill lost there. The others give their commands two seconds, less than a process needs to come
back: what was not durable is not made good by the broker either.
"""

from __future__ import annotations

import time
from typing import Final

import pytest

from amends.db.crashpoints import CRASH_POINTS
from tests.faults.patience import answered_orders
from tests.faults.town import Town, assert_all_hold, town
from tests.servers.postgres import PostgresServer
from tests.servers.rabbit import RabbitServer

DEATH_S: Final = 60.0
AT_ONCE: Final = 4
IN_FLIGHT: Final = 12
LOOK_S: Final = 0.05
SCHEDULED: Final = "coordinator.schedule."
# Where an external call is announced: the carrier's.
EXTERNAL: Final = ("participant.intent.before", "participant.intent.after")


def plan() -> dict[str, list[str]]:
    """Which process kills itself where, one point after the other."""
    return {
        "coordinator": [
            point
            for point in CRASH_POINTS
            if point.startswith("coordinator.") and not point.startswith(SCHEDULED)
        ],
        "payments": [
            point for point in CRASH_POINTS if point.startswith("participant.") and point not in EXTERNAL
        ],
        "shipping": [point for point in CRASH_POINTS if point in EXTERNAL],
        "relay": [point for point in CRASH_POINTS if point.startswith("relay.")],
    }


def some_more(place: Town) -> None:
    """A few orders of either kind."""
    place.place(AT_ONCE // 2, patient=True)
    place.place(AT_ONCE // 2)


def die_everywhere(place: Town) -> None:
    """Orders come; whoever has killed itself is started again, to do it at its next point."""
    waiting = plan()
    elsewhere = [point for point in CRASH_POINTS if point.startswith(SCHEDULED)]
    planned = [point for points in waiting.values() for point in points]
    assert sorted(planned + elsewhere) == sorted(CRASH_POINTS)
    for name, points in waiting.items():
        place.start(name, crash_at=points[0])
    last_death = time.monotonic()
    while any(waiting.values()):
        for name, points in waiting.items():
            if points and not place.running(name):
                points.pop(0)
                place.end(name)
                place.start(name, crash_at=points[0] if points else None)
                last_death = time.monotonic()
                # Who died took with it, for half a minute, what it had claimed: let there be more to die over.
                some_more(place)
        if place.placed - place.ended() < IN_FLIGHT:
            some_more(place)
        reached = {name: points[0] for name, points in waiting.items() if points}
        assert time.monotonic() - last_death < DEATH_S, f"nobody came to {reached}: {place.tails()}"
        time.sleep(LOOK_S)


@pytest.mark.timeout(600)
def test_a_kill_at_every_crash_point_loses_nothing(
    postgres: PostgresServer, rabbit: RabbitServer, prefix: str
) -> None:
    """Rules O1 to O3, B4, E1: what is durable is repeated, what is not never happened.

    Guards: the acks after the commit (Lane._deal_with, Decider._after_commit), the replies offered after it
    (Transactions.begin), and the rows of dead owners (Sweep._watch_owners).
    """
    with town(postgres.url, rabbit.url, prefix, answered_orders()) as place:
        place.start("inventory")
        die_everywhere(place)
        place.wait_until_ended(120)

        assert_all_hold(place.verdicts())
