"""What is stored, read after everything that happens, and what must hold of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine

from amends.coordinator.engine import sql
from amends.coordinator.engine.journal import decode_event
from amends.coordinator.engine.placeholders import PLACEHOLDER, read_placeholder
from amends.coordinator.engine.rows import read_saga, read_step
from amends.coordinator.saga.definition import Definition
from amends.coordinator.saga.events import Started
from amends.coordinator.saga.leaves import WaitNode
from amends.coordinator.saga.machine import advance, begin
from amends.coordinator.saga.state import Phase, Saga, Status, Step
from amends.outbox import wire
from tests.stateful.post import Command

HEADS = "SELECT id::text, status, seq, key, name, head::text FROM amends.saga ORDER BY id"
LOG = """
    SELECT saga_id::text, seq, at_ms, event::text FROM amends.saga_log AS log
    JOIN unnest(%(ids)s::uuid[], %(seqs)s::int[]) AS known (saga, known) ON log.saga_id = saga AND log.seq > known
    ORDER BY saga_id, seq
"""
TIMERS = """
    SELECT saga_id::text, path, attempt, (extract(epoch FROM due_at) * 1000)::bigint AS due_ms FROM amends.timer
"""
OUTBOX = "SELECT type, body FROM amends.outbox WHERE sent_at IS NULL"
COUNTS = """
    SELECT (SELECT count(*) FROM amends.audit WHERE saga_id IS NOT NULL), (SELECT count(*) FROM amends.quarantine)
"""


@dataclass
class Look:
    """`sagas` as they are stored, with their steps; `replayed` as their logs give them; `kept` by placeholders."""

    database: Engine
    definition: Callable[[str, int], Definition]
    sagas: dict[str, Saga] = field(default_factory=dict)
    replayed: dict[str, Saga] = field(default_factory=dict)
    kept: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    unsent: int = 0
    audited: int = 0
    quarantined: int = 0

    def again(self, seen: set[Command]) -> None:
        """Read what has changed, and hold it against what must be."""
        with self.database.connect() as connection:
            heads = connection.exec_driver_sql(HEADS).all()
            self._read(connection, heads)
            self._replay(connection, heads)
            timers = connection.exec_driver_sql(TIMERS).all()
            outbox = connection.exec_driver_sql(OUTBOX).all()
            self.audited, self.quarantined = connection.exec_driver_sql(COUNTS).one()
        self.unsent = len(outbox)
        self._timers(timers)
        self._commands(outbox, seen)

    def _read(self, connection: Connection, heads: list[Any]) -> None:
        for id_, _, _, key, name, _ in heads:
            assert key is None or id_ == wire.saga_id_of(name, key), f"12: key {key} has the saga {id_}"
        self.kept = {
            row[0]: {(one.name, one.message_id) for one in read_placeholder(row[5]).signals}
            for row in heads
            if row[1] == PLACEHOLDER
        }
        here = {row[0] for row in heads if row[1] != PLACEHOLDER}
        assert not here & self.gone, f"S3: pruned, and there again: {here & self.gone}"
        for id_ in self.sagas.keys() - here:
            assert self.sagas[id_].status.ended, f"12: {id_} is gone: it was {self.sagas[id_].status}"
            if self.sagas[id_].status is not Status.REJECTED:
                parent = self.sagas[id_].parent
                over = parent is None or parent.saga in self.gone or self.sagas[parent.saga].status.ended
                assert over, f"E5: {id_} was pruned before its parent had ended"
            self.gone.add(id_)
            del self.sagas[id_]
        changed = [row[0] for row in heads if row[0] in here and self._changed(row)]
        if not changed:
            return
        steps: dict[str, dict[str, Step]] = {id_: {} for id_ in changed}
        for row in connection.exec_driver_sql(sql.LOAD_STEPS, {"ids": changed}).all():
            saga_id, step = read_step(row)
            steps[saga_id][step.path] = step
        for row in connection.exec_driver_sql(sql.READ_SAGAS, {"ids": changed}).all():
            saga, _ = read_saga(row)
            was = self.sagas.get(saga.id)
            if was is not None and was.status.ended:
                assert was.status is Status.REJECTED, f"1: {saga.id} was {was.status}, now {saga.status}"
            self.sagas[saga.id] = replace(saga, steps=steps[saga.id])
            if saga.status is Status.REJECTED and saga.signals:
                self.kept[saga.id] = {(name, one.id) for name, kept in saga.signals.items() for one in kept}

    def _changed(self, row: Any) -> bool:
        if row[1] == Status.REJECTED:
            return True  # What it keeps changes without an event.
        known = self.sagas.get(row[0])
        return known is None or (known.status.value, known.seq, known.name) != (row[1], row[2], row[4])

    def _replay(self, connection: Connection, heads: list[Any]) -> None:
        behind = [id_ for id_, saga in self.sagas.items() if saga.seq != self._seq(id_)]
        if not behind:
            return
        wanted = {"ids": behind, "seqs": [self._seq(id_) for id_ in behind]}
        for id_, seq, at, text in connection.exec_driver_sql(LOG, wanted).all():
            assert seq == self._seq(id_) + 1, f"10: {id_} has a gap before {seq}"
            event = decode_event(json.loads(text))
            stored = self.sagas[id_]
            definition = self.definition(stored.name, stored.version)
            if isinstance(event, Started):
                self.replayed[id_] = begin(
                    definition,
                    id=id_,
                    input=stored.input,
                    labels=stored.labels,
                    now=stored.started,
                    parent=event.parent,
                    decision=event.decision,
                )
            self.replayed[id_], _ = advance(definition, self.replayed[id_], event, at)
        for id_ in behind:
            assert self.replayed.get(id_) == self.sagas[id_], f"10: the log of {id_} gives another state"

    def _seq(self, id_: str) -> int:
        return self.replayed[id_].seq if id_ in self.replayed else 0

    def _timers(self, timers: list[Any]) -> None:
        """A timer for all that is due, and none of what is over; of a stuck saga's some may have gone (C3)."""
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for row in timers:
            found.setdefault(row[0], {})[row[1]] = (row.attempt, row.due_ms)
        for id_, saga in self.sagas.items():
            mine = found.get(id_, {})
            assert not (saga.status.ended and mine), f"{id_} is {saga.status}, and has timers: {mine}"
            if saga.status not in (Status.RUNNING, Status.COMPENSATING):
                continue
            mine.pop("", None)
            due = {path: step.attempt for path, step in saga.steps.items() if step.due is not None}
            assert {path: one[0] for path, one in mine.items()} == due, f"timers of {id_}: {mine}, due: {due}"
            for path, (_, due_ms) in mine.items():
                assert due_ms >= (saga.steps[path].due or 0) - 1, f"the timer of {path} of {id_} is early"

    def _commands(self, outbox: list[Any], seen: set[Command]) -> None:
        """What is awaited was written down to be sent, and what was sent was decided."""
        written = set(seen)
        for type_, body in outbox:
            if type_ == wire.COMMAND:
                one = wire.decode(type_, bytes(body))
                assert isinstance(one, wire.Command)
                written.add((one.saga, one.path, one.op.value, one.attempt))
        for id_, saga in self.sagas.items():
            for path, step in saga.steps.items():
                if step.phase is Phase.AWAITING:
                    sent = (id_, path, step.op.value, step.attempt)
                    assert sent in written, f"O1: {sent} is awaited, and nobody was asked"
        for id_, path, op, attempt in seen:
            saga_ = self.sagas.get(id_)
            if saga_ is not None:
                step_ = saga_.steps.get(path)
                attempts = 0 if step_ is None else step_.attempt
                assert attempts >= attempt, f"{op} of {path} of {id_} was never decided"

    def heard(self, id_: str) -> set[tuple[str, str]]:
        """The signals that a saga has taken or keeps, by name and id."""
        saga = self.sagas[id_]
        heard = {(name, one.id) for name, kept in saga.signals.items() for one in kept}
        for step in saga.steps.values():
            node = self.definition(saga.name, saga.version).plan.by_id[step.node].node
            if isinstance(node, WaitNode) and step.took:
                heard.add((node.signal, step.took))
        return heard

    def live(self) -> Counter[tuple[str, str]]:
        """How many there are of what has not ended, by name and status."""
        return Counter((one.name, one.status.value) for one in self.sagas.values() if not one.status.ended)
