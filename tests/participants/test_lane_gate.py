"""A lane gives back what the database's absence left undone, whoever opens the gate again, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from uuid import uuid4

from amends.db.errors import StoreUnavailable
from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Delivery, Topology
from amends.participants.worker.calling import Caller
from amends.participants.worker.gate import DatabaseGate
from amends.participants.worker.lane import Lane
from amends.participants.worker.stopwatch import Stopwatch
from tests.outbox.driving import outgoing
from tests.waiting import DEADLINE_S

QUEUE = "lane"


class OpenedAgain(DatabaseGate):
    """A gate that another lane has opened again before this one comes to look."""

    def shut(self, error: Exception) -> None:
        """It is open."""


def test_a_message_comes_again_though_another_lane_has_opened_the_gate() -> None:
    """Guard: the lane leaves its consumer; while it looked at the gate alone, the message stayed unacknowledged."""
    broker = open_broker(f"memory://{uuid4().hex}")
    broker.declare(Topology(frozenset({QUEUE})))
    dealt_with = threading.Event()
    tries: list[int] = []

    def obey(
        deliveries: Sequence[Delivery], _caller: Caller, done: Callable[[Sequence[Delivery]], None]
    ) -> None:
        tries.append(len(deliveries))
        if len(tries) == 1:
            raise StoreUnavailable("away")
        done(deliveries)
        dealt_with.set()

    lane = Lane(
        "do",
        broker,
        QUEUE,
        obey,
        OpenedAgain(lambda: None),
        Stopwatch(60.0, lambda: None),
        threads=1,
        prefetch=1,
        time_limit_s=60.0,
    )
    lane.start()
    broker.publisher().publish(outgoing([Message(routing_key=QUEUE, type="test", body=b"{}")]))

    came_again = dealt_with.wait(DEADLINE_S)
    lane.ask_to_stop(0.0)
    lane.join()

    assert came_again
    assert tries == [1, 1]
