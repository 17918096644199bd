"""Operators at two coordinators at once, and acts that meet a late reply (A1, A3)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from amends.coordinator import Saga, chain, pivot, retry, step
from amends.coordinator.engine.contract import ActAnswer
from amends.coordinator.saga.events import Act, Compensate, Finish, Retry, Skip
from amends.outbox.wire import Op
from tests.engine.world import World
from tests.interleavings.services import refuse
from tests.interleavings.town import Town, Trip
from tests.waiting import DEADLINE_S, eventually

ONCE_MORE = retry(first="50ms", limit=1)
TELL = Saga(
    "tell",
    chain(
        step("reserve", to="inventory", undo="release"),
        pivot(step("charge", to="payments")),
        step("notify", to="payments", timeout="1s", retry=ONCE_MORE),
    ),
    version=1,
)
FILE = Saga(
    "file-twice",
    chain(step("charge", to="payments", undo="refund"), step("reserve", to="inventory", undo="release")),
    version=1,
)


@pytest.fixture
def second(town: Town) -> Iterator[World]:
    """A second coordinator beside the town's."""
    world = World(town.world.database, town.network, town.prefix).start()
    yield world
    world.close()


@contextmanager
def saga_locked(town: Town, trip: Trip) -> Iterator[None]:
    """While this is open, whoever wants to advance this saga waits."""
    with town.world.database.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM amends.saga WHERE id = %s FOR UPDATE", (trip.id,))
        yield


def waiting(town: Town) -> int:
    """How many transactions wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(town.world.value(sql))


def by(actor: str, kind: type[Act], **fields: object) -> Act:
    return kind(actor=actor, reason="test", **fields)  # type: ignore[arg-type]


ACTS: dict[str, tuple[Act, Act]] = {
    "skip-and-retry": (by("ann", Skip, path="notify"), by("ben", Retry)),
    "retry-and-skip": (by("ann", Retry), by("ben", Skip, path="notify")),
    "skip-and-finish": (by("ann", Skip, path="notify"), by("ben", Finish)),
    "finish-and-finish": (by("ann", Finish), by("ben", Finish)),
}


@pytest.mark.parametrize("acts", ACTS)
def test_of_two_operators_at_once_one_wins_and_the_other_is_told(
    town: Town, second: World, acts: str
) -> None:
    """A1: at two coordinators, each in its own transaction, neither committed when the other begins.

    Guards: FOR UPDATE in LOCK_HEADS, or the second would decide by what it read before it waited; behind it the key
    of the log, which makes it look again.
    """
    trip = town.trip(TELL)
    trip.on("payments", "notify", refuse("no such address"))
    trip.start()
    trip.stuck_at()
    first, other = ACTS[acts]

    with saga_locked(town, trip):
        answers: list[Future[ActAnswer]] = [town.world.coordinator.submit_act(trip.id, first)]
        eventually(lambda: waiting(town) == 1, what="the first to wait for the saga")
        answers.append(second.coordinator.submit_act(trip.id, other))
        eventually(lambda: waiting(town) == 2, what="the second to wait as well")

    told = [answer.result(DEADLINE_S) for answer in answers]
    assert sorted(one.verdict.value for one in told) == ["applied", "refused"]
    assert all(one.reason for one in told if one.verdict == "refused")
    trip.becomes("completed")
    audited = "SELECT array_agg(actor ORDER BY actor) FROM amends.audit WHERE saga_id = :id"
    winner = "ann" if told[0].verdict == "applied" else "ben"
    assert town.world.value(audited, id=trip.id) == [winner]
    assert trip.effects("inventory") == ["reserve"]
    assert trip.replays()


@pytest.mark.parametrize("first", ["reply", "skip"])
def test_a_skip_that_meets_the_steps_late_reply_is_overridden_by_it(
    town: Town, second: World, first: str
) -> None:
    """A1, A3: `done` wins, whichever is first; what an operator overrode for nothing is not listed.

    Guard: the fence that `acts._settle` asks; what was recorded says the same.
    """
    trip = town.trip(TELL)
    replies = trip.hold("reply", path="notify", op=Op.DO)
    trip.start()
    trip.stuck_at()
    late = replies.parcels[0].message
    skip = by("ann", Skip, path="notify")

    if first == "reply":
        with saga_locked(town, trip):
            town.network.send([late])
            eventually(lambda: waiting(town) == 1, what="the reply to wait for the saga")
            answer = second.coordinator.submit_act(trip.id, skip)
        answer.result(DEADLINE_S)
    else:
        fences = trip.hold("command", op=Op.FENCE)
        assert town.world.act(trip.id, skip).verdict == "applied"
        fences.wait()
        town.network.send([late])
        fences.open()

    trip.becomes("completed")
    assert town.world.state(trip.id).steps["notify"].did == "done"
    assert trip.overrides() == []
    assert trip.effects("payments") == ["charge", "notify"]
    assert trip.replays()


def test_compensate_that_meets_a_late_reply_undoes_what_it_tells_of(town: Town, second: World) -> None:
    """A3, C1: the reply says that it happened, the operator has turned the saga back. Guard: the undo of what is
    UNKNOWN in backward.
    """
    trip = town.trip(FILE)
    replies = trip.hold("reply", path="reserve", op=Op.DO)
    trip.start()
    replies.wait()

    with saga_locked(town, trip):
        answer = second.coordinator.submit_act(trip.id, by("ann", Compensate))
        eventually(lambda: waiting(town) == 1, what="the operator to wait for the saga")
        replies.open()

    assert answer.result(DEADLINE_S).verdict == "applied"
    trip.becomes("compensated")
    assert trip.effects("inventory") == ["reserve", "release"]
    assert trip.effects("payments") == ["charge", "refund"]
    assert trip.replays()
