"""The decider's queue: letting a batch grow (E1)."""

from __future__ import annotations

from threading import Thread

from amends.coordinator.engine.intake import AdmitItem, Intake

LONG_S = 60.0


def an_item() -> AdmitItem:
    return AdmitItem(saga_id="a1b2", path="charge")


def gathered(intake: Intake, enough: int) -> Thread:
    """A thread that lets the intake grow."""
    thread = Thread(target=intake.gather, args=(enough, LONG_S), daemon=True)
    thread.start()
    return thread


def test_gathering_ends_when_there_is_enough():
    """Guard: the look at how many there are; without it every batch under load waits for the whole time."""
    intake = Intake()
    intake.put([an_item()])

    waiting = gathered(intake, enough=3)
    intake.put([an_item(), an_item()])

    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()
    assert len(intake.take(10, 0.0)) == 3


def test_a_wake_ends_gathering_and_is_not_lost():
    """The decider is told to stop while it lets a batch grow: neither this nor the next look may wait."""
    intake = Intake()

    waiting = gathered(intake, enough=3)
    intake.wake()

    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()
    assert intake.take(10, LONG_S) == []
