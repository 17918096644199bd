"""The auditor: replays the log of every saga as it is committed, and holds each event against the invariants.

It sees what a reader of the database could see, and has all of a saga at hand where the engine loads a part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from amends.coordinator.engine.heads import head_text
from amends.coordinator.engine.journal import decode_event
from amends.coordinator.engine.rows import step_columns
from amends.coordinator.saga import events
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.effects import AttemptClosed, Effect, Publish, Send
from amends.coordinator.saga.events import Event
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Phase, Saga
from amends.coordinator.simulating.expecting import order_of
from amends.coordinator.simulating.promises import promise_each_event
from amends.coordinator.simulating.tables import Entry, SagaRow, Tables

_decode = msgspec.json.Decoder().decode


class Life:
    """One saga as its log tells it, from its birth on.

    `published` are its domain events, `heard` the signals that changed it. It `listens` to none that were kept if
    it turned back, or ended, in the moment it began.
    """

    def __init__(self, definition: Definition, born: Saga) -> None:
        self.definition = definition
        self.order = order_of(definition)
        self.saga = born
        self.published: list[Publish] = []
        self.finished = False
        self.heard: set[str] = set()
        self.listens = True
        self.timeouts = 0


class Auditor:
    """Every saga that was ever committed. `tell` hears of each event, in words."""

    def __init__(self, find: Callable[[str, int], Definition]) -> None:
        self._find = find
        self.lives: dict[str, Life] = {}
        self.counts: Counter[str] = Counter()
        self.clock_jumped = False
        self._unsent: set[tuple[str, str]] = set()
        self.tell: Callable[[str, Event, Saga, tuple[Effect, ...]], None] | None = None

    def committed(self, tables: Tables) -> None:
        """A batch was committed: what it wrote into the log must give what it wrote into the rows (10)."""
        for had in tables.had:
            assert had.due_ms <= had.now_ms or self.clock_jumped, "E3: a timer was had that is not due"
        self._unsent = {had.key for had in tables.had if had.unsent}
        touched: dict[str, None] = {}
        for saga_id, seq, entry in tables.appended:
            touched[saga_id] = None
            if seq == 1:
                self._born(tables.sagas[saga_id], entry)
            self._happened(saga_id, seq, entry)
        tables.appended.clear()
        for saga_id in touched:
            self._agree(tables.sagas[saga_id], self.lives[saga_id].saga)

    def _born(self, row: SagaRow, entry: Entry) -> None:
        assert row.id not in self.lives, f"12: saga {row.id} began a second time"
        definition = self._find(row.name, row.version)
        started = decode_event(_decode(entry.event))
        assert isinstance(started, events.Started), f"10: the log of {row.id} begins with {started}"
        saga = begin(
            definition,
            id=row.id,
            input=_decode(row.input),
            labels=_decode(row.labels),
            now=row.started_ms,
            parent=started.parent,
            decision=started.decision,
        )
        self.lives[row.id] = Life(definition, saga)
        self.counts["children" if started.parent is not None else "sagas"] += 1

    def _happened(self, saga_id: str, seq: int, entry: Entry) -> None:
        life = self.lives[saga_id]
        was = life.saga
        assert seq == was.seq + 1, f"10: the log of {saga_id} goes from {was.seq} to {seq}"
        event = decode_event(_decode(entry.event))
        saga, effects = advance(life.definition, was, event, entry.at_ms)
        assert saga is not was, f"10: {event} is in the log, and changes nothing"
        life.saga = saga
        if isinstance(event, events.Started | events.Unsendable) and saga.clock == saga.started:
            life.listens = not (saga.backwards or saga.status.ended)
        if isinstance(event, events.Signalled):
            life.heard.add(event.message_id)
        life.finished |= isinstance(event, events.Finish)
        life.published += [effect for effect in effects if isinstance(effect, Publish)]
        self._count(life, was, event, effects)
        if self.tell is not None:
            self.tell(saga_id, event, saga, effects)
        promise_each_event(life.definition, life.order, was, saga, effects)
        if isinstance(event, events.Replied | events.Reported):
            again, _ = advance(life.definition, saga, event, entry.at_ms)
            assert again is saga, f"6: a repeated message changed something: {event}"

    def _count(self, life: Life, was: Saga, event: Event, effects: tuple[Effect, ...]) -> None:
        counts = self.counts
        counts["events"] += 1
        if isinstance(event, events.TimerFired):
            step = was.steps.get(event.path)
            if step is not None and step.phase is Phase.AWAITING and event.spent:
                unsent = (was.id, event.path) in self._unsent
                assert not unsent, f"M4: {event.path} timed out while its command was in the outbox"
            if step is not None and step.phase in (Phase.AWAITING, Phase.BACKOFF):
                life.timeouts += 1
                counts["timeouts and back-offs"] += 1
        elif isinstance(event, events.Act):
            counts["acts"] += 1
        elif isinstance(event, events.Signalled):
            counts["signals"] += 1
        elif isinstance(event, events.Admitted):
            counts["admissions"] += 1
        for effect in effects:
            if isinstance(effect, Send):
                counts["commands"] += 1
            elif isinstance(effect, AttemptClosed):
                counts["answers and timeouts"] += 1

    def took_effect(self, saga_id: str, path: str) -> None:
        """A handler did something: its saga must still be there for it, unless all it does is to read (4)."""
        life = self.lives.get(saga_id)
        if life is None or not life.saga.status.ended:
            return
        step = life.saga.steps.get(path)
        reads = step is not None and life.definition.plan.by_id[step.node].step.reads
        # Nothing could be promised of what was settled after its participant had forgotten it (B6).
        expired = any(f" {path} " in one and "found: expired" in one for one in life.saga.overrides)
        assert reads or expired, f"4: {path} of {saga_id} took effect after the end of its saga"

    def _agree(self, row: SagaRow, saga: Saga) -> None:
        seen = (row.seq, row.status, row.clock_ms, row.deadline_ms, row.backwards)
        told = (saga.seq, saga.status.value, saga.clock, saga.deadline, saga.backwards)
        assert seen == told, f"10: the row of {saga.id} says {seen}, its log {told}"
        if row.status == "stuck":
            assert row.stuck_steps, f"15: {saga.id} is stuck, and its row names no step"

    def agrees_wholly(self, tables: Tables) -> None:
        """Every row, to the last column, is what its log gives (10)."""
        for saga_id, row in tables.sagas.items():
            life = self.lives.get(saga_id)
            if life is None:
                continue
            self._agree(row, life.saga)
            assert _decode(row.head) == _decode(head_text(life.saga)), (
                f"10: the header of {saga_id} is not what its log gives"
            )
            stored = tables.steps.get(saga_id, {})
            columns: dict[str, list[Any]] = step_columns((saga_id, step) for step in life.saga.steps.values())
            told = {step[1]: step for step in zip(*columns.values(), strict=True)}
            assert stored == told, f"10: the steps of {saga_id} are not what its log gives"
