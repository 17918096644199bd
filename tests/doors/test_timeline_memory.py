"""What a timeline holds in memory rises with the length of the log, not with that times the number of steps."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from uuid import uuid4

from amends.coordinator import Saga, arg, each, item, step
from amends.coordinator.engine.journal import encode_event
from amends.coordinator.http.showing import shown_timeline
from amends.coordinator.records import Detail, Header, History, LogRow
from amends.coordinator.saga.events import Event, Outcome, Replied, Started
from amends.coordinator.saga.state import FORMAT, Op
from tests.saga.story import NOON

DEFINITION = Saga(
    "pack", each(arg, step("pack", to="packers", undo="unpack", args=item)), version=1
).definition


def course(items: int) -> History:
    """A saga of so many items, all packed one after another; its log has a row for each."""
    done: list[Event] = [
        Replied(path=f"pack/{number}", op=Op.DO, round=1, attempt=1, outcome=Outcome.DONE)
        for number in range(items)
    ]
    header = Header(
        id=str(uuid4()),
        name="pack",
        version=1,
        status="completed",
        backwards=False,
        key=None,
        labels={},
        input_hash="",
        started_ms=NOON,
        clock_ms=NOON,
        deadline_ms=None,
        stuck_steps=None,
        error=None,
        created_at=datetime.fromtimestamp(NOON / 1_000, UTC),
        ended_at=None,
        format=FORMAT,
        parent=None,
    )
    given = json.dumps(list(range(items)))
    detail = Detail(header, (), given, "none", None, "none", True, False, NOON, ())
    events = [Started(), *done]
    log = [LogRow(seq, NOON, json.loads(encode_event(event))) for seq, event in enumerate(events, start=1)]
    return History(detail, log)


def peak(items: int) -> int:
    """The most that showing it held, in bytes."""
    history = course(items)
    tracemalloc.start()
    try:
        shown = shown_timeline(history, DEFINITION, rows_max=5_000)
        assert [entry.what for entry in shown.entries].count("step") == items
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_the_items_hold_about_four_times_as_much() -> None:
    """Guard: `_course` yields; a list of what it replays takes eight times as much: all steps, for each event."""
    peak(10)  # What is imported and cached on the way is not counted.

    assert peak(800) < 6 * peak(200)
