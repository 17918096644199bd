"""A fault of our own in a lane's receiver is logged and outlived: its queue does not wait for a thread that is gone."""

from __future__ import annotations

from typing import Any

import pytest

from amends.outbox.wire import Outcome
from amends.participants import Ctx, Participant
from amends.participants.worker.lane import Lane
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import command


def test_a_receiver_that_fails_begins_anew(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: the `except Exception` in Lane._receive. The fault is made by hand."""
    participant = Participant("one")

    @participant.command
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        pass

    consume = Lane._consume
    failed: list[Lane] = []

    def failing_once(self: Lane, consumer: Any) -> None:
        if self not in failed:
            failed.append(self)
            raise RuntimeError("a fault of our own")
        consume(self, consumer)

    monkeypatch.setattr(Lane, "_consume", failing_once)
    coordinator = coordinator_of("one")
    start_worker(participant)

    assert coordinator.ask(command("work", {})).outcome is Outcome.DONE
    assert len(failed) == 2
