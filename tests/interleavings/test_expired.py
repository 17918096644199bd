"""Sagas that are older than what a participant remembers: stuck, by name, until an operator acts (B6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amends.coordinator import Saga, chain, step
from amends.outbox.wire import Op
from amends.participants.worker.worker import Worker
from tests.interleavings.conftest import MakeDatabase
from tests.interleavings.services import Service
from tests.interleavings.town import Town, Trip

DAY_S = 86_400
FILE = Saga(
    "file",
    chain(
        step("charge", to="payments", undo="refund"),
        step("file", to="archive", undo="unfile"),
        step("notify", to="inventory", undo=None),
    ),
    version=1,
)
StartArchive = Callable[..., Worker]


@pytest.fixture
def start_archive(
    town: Town, make_database: MakeDatabase, participant_template: str
) -> Iterator[StartArchive]:
    """Starts a worker of the archive, which remembers for so many days."""
    service = Service("archive", {"file": "unfile"}, make_database(participant_template))
    workers: list[Worker] = []

    def start(days: int, **settings: Any) -> Worker:
        workers.append(town.add(service, retention_s=days * DAY_S, **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


def long_after(town: Town) -> Trip:
    """A saga whose second step is first asked for three days after its start."""
    trip = town.trip(FILE)
    charged = trip.hold("reply", path="charge", op=Op.DO, most=1)
    trip.start()
    charged.wait()
    trip.grows_older(days=3)
    charged.release()
    return trip


def test_a_command_too_old_to_be_known_makes_the_saga_stuck_and_a_retry_goes_on(
    town: Town, start_archive: StartArchive
) -> None:
    """Nothing is run that may have run before. Once the archive remembers longer, a retry succeeds.

    Guards: EXPIRED in replies.py: _do; `WHERE started_s` in sql_postgresql.py: INSERT.
    """
    forgetful = start_archive(days=2)
    trip = long_after(town)
    assert "too long ago" in trip.stuck_at()["file"]
    assert trip.calls("archive") == []
    trip.retry()
    trip.replies(2, path="file", outcome="expired")
    assert set(trip.stuck_at()) == {"file"}

    forgetful.stop()
    start_archive(days=30)
    trip.retry()

    trip.becomes("completed")
    assert trip.effects("archive") == ["file"]
    assert trip.effects("payments") == ["charge"]


def test_an_expired_step_can_be_skipped_and_the_saga_says_what_was_found(
    town: Town, start_archive: StartArchive
) -> None:
    """A1: "in doubt" and `expired` are listed as such."""
    start_archive(days=2)
    trip = long_after(town)
    trip.stuck_at()

    trip.skip("file")

    trip.becomes("completed")
    assert trip.overrides() == ["skip file by ann: test (found: expired)"]
    assert trip.calls("archive") == []
    assert trip.effects("inventory") == ["notify"]


def test_compensating_past_an_expired_step_asks_the_operator_once_more(
    town: Town, start_archive: StartArchive
) -> None:
    """C1: the `do` was logged, so its undo is owed; nobody can tell whether there is something to undo."""
    start_archive(days=2)
    trip = long_after(town)
    trip.stuck_at()

    trip.compensate()
    trip.replies(1, path="file", op=Op.UNDO, outcome="expired")
    assert set(trip.stuck_at()) == {"file"}
    assert trip.effects("payments") == ["charge"]
    trip.skip("file")

    trip.becomes("compensated")
    assert trip.effects("payments") == ["charge", "refund"]
    assert trip.overrides() == ["skip file by ann: test (found: expired)"]
