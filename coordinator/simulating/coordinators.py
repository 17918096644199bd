"""A coordinator process: the engine's own batches (`amends.coordinator.engine`) on modelled tables, broker and clock.

The threads of the real process are moves here, made in any order: consume, decide, claim timers, keep, schedule,
publish, sweep. What `engine/deciding.py` does around a batch is done here in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from sqlalchemy import Connection

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine import breakers, placeholders, sql, windows
from amends.coordinator.engine.batch import Batch, Outcome
from amends.coordinator.engine.gate import Gate
from amends.coordinator.engine.intake import (
    AdmitItem,
    AnyItem,
    DoorItem,
    ScheduleItem,
    TimerItem,
    from_a_door,
)
from amends.coordinator.engine.kin import OWN_SERVICE
from amends.coordinator.engine.lives import Advancing
from amends.coordinator.engine.reading import read
from amends.coordinator.engine.shelf import Shelf
from amends.coordinator.engine.starts import Starts
from amends.coordinator.observer import NULL_OBSERVER
from amends.coordinator.schedules import sql as schedules
from amends.coordinator.schedules.cron import Cron
from amends.coordinator.schedules.missed import Missed, plan
from amends.coordinator.simulating.broker import Consumer
from amends.coordinator.simulating.mishaps import transaction
from amends.coordinator.simulating.processes import Move, Process
from amends.coordinator.simulating.relays import Relay
from amends.coordinator.simulating.sender import Sender
from amends.coordinator.simulating.statements import Session
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.outbox import wire
from amends.outbox.message import OutboxRow
from amends.outbox.ports import command_queue, coordinator_queue, receipts_queue
from amends.outbox.store import OutboxStore

if TYPE_CHECKING:
    from amends.coordinator.simulating.town import Town

PREFIX: Final = "amends"
BODY_BYTES_MAX: Final = 1_048_576
UNKNOWN_VERSION_S: Final = 3_600.0
PLACEHOLDER_S: Final = 7 * 86_400.0
RETENTION_S: Final = 2 * 3_600.0
_TIMER_LEASE_S: Final = 30.0
_REFRESH_MS: Final = 1_000
_AGAIN_MS: Final = 2_000
_LATE_MS: Final = 60_000


class _Store:
    """The outbox as a batch inserts into it."""

    def __init__(self, town: Town) -> None:
        self._table = town.tables.outbox

    def insert(self, _: Any, messages: Iterable[Any], owner: Any) -> list[int]:
        return self._table.insert(messages, owner)


class CoordinatorProcess(Process):
    """One coordinator, from its start to its death."""

    def __init__(self, town: Town, name: str) -> None:
        super().__init__(town, name)
        tables, mishaps = town.tables, town.mishaps
        self._tables, self._mishaps = tables, mishaps
        self._session = cast(Connection, Session(tables))
        self._catalog = Catalog(cast(Any, None))
        for definition in town.known_definitions():
            self._catalog._remember(
                definition
            )  # As if it had looked: reading them from JSON each time is slow.
        self._starts = Starts(self._catalog, unknown_version_s=UNKNOWN_VERSION_S, again_s=30.0)
        self.gate = Gate(window=town.window, breaker_failures=town.breaker_failures)
        self._shelf = Shelf(1_000_000)
        self._admissions = windows.Admissions()
        receipts = receipts_queue(PREFIX, OWN_SERVICE)
        self.sender = Sender(
            town.broker,
            tables.outbox,
            tables.journal,
            mishaps,
            names=town.next_name,
            receipts_to=receipts,
            on_late_confirm=self._postpone,
        )
        self.relay = Relay(
            town.broker,
            tables.outbox,
            tables.journal,
            mishaps,
            receipts=receipts,
            on_late_confirm=self._postpone,
        )
        self._consumer = Consumer(town.broker, [coordinator_queue(PREFIX)], prefetch=30)
        self._intake: list[AnyItem] = []
        self._in_hand: list[AnyItem] = []
        self._handed_over: dict[tuple[int, int], int] = {}
        self._refresh_at = 0
        self._epoch = -1

    def die(self) -> None:
        for item in (*self._intake, *self._in_hand):
            self._not_acked(item)
        self._consumer.close()
        self.relay.close()

    def submit(self, item: AnyItem) -> None:
        """A door asks; its answer comes with a batch, or never."""
        self._intake.append(item)

    def moves(self) -> Iterator[Move]:
        yield from self.sender.moves(self.town.rng)
        yield from self.relay.moves(self.town.rng)
        if self._epoch != self.town.broker.epoch:
            yield 4.0, self._declare
        if self._consumer.has_some and len(self._intake) < 30:
            yield 6.0, self._consume
        if self._intake:
            yield 8.0, self._decide
        if self._has_due_timers():
            yield 3.0, self._tick
        if self.town.now >= self._refresh_at or self.gate.parked() or self.gate.open_queues():
            yield 2.0, self.keep
        if self._tables.schedules:
            yield 0.7, self._schedule

    # Its threads

    def _declare(self) -> None:
        queues = [coordinator_queue(PREFIX), receipts_queue(PREFIX, OWN_SERVICE)]
        for participant in self.town.participants:
            queues += [command_queue(PREFIX, participant, undo=undo) for undo in (False, True)]
        self.town.broker.declare(queues)
        self._epoch = self.town.broker.epoch

    def _consume(self) -> None:
        deliveries = self._consumer.receive(self.town.rng, self.town.rng.randint(1, 5))
        self._intake += [read(one, body_bytes_max=BODY_BYTES_MAX) for one in deliveries]

    def _has_due_timers(self) -> bool:
        now = self._tables.now()
        return any(
            timer.due_ms <= now and (timer.leased_until is None or timer.leased_until < now)
            for timer in self._tables.timers.values()
        )

    def _tick(self) -> bool:
        """Claim due timers (E3)."""
        token = UUID(int=self.town.next_name())
        values = {"token": token, "lease_s": _TIMER_LEASE_S, "rows_max": 5}
        try:
            with transaction(self._tables.journal, self._mishaps):
                rows = self._session.exec_driver_sql(sql.CLAIM_TIMERS, values).all()
        except StoreUnavailable:
            return False
        if rows:
            self._mishaps.crash_point("timers are claimed")
        self._intake += [TimerItem(saga_id=saga_id, path=path, token=token) for saga_id, path in rows]
        return bool(rows)

    def keep(self) -> bool:
        """Breakers, windows, what is parked (E4, M6)."""
        before = len(self._intake)
        decided = self.gate.take_decisions()
        try:
            if any(decided):
                with transaction(self._tables.journal, self._mishaps):
                    failures = self.town.breaker_failures
                    breakers.store_decisions(self._session, *decided, failures=failures, pause_s=5.0)
            if self.town.now >= self._refresh_at:
                self._refresh()
            self._probe()
            self._admit()
        except StoreUnavailable:
            self.gate.put_back(*decided)
        return len(self._intake) > before or any(decided)

    def _refresh(self) -> None:
        self.gate.begin_refresh()
        self.gate.refresh(*windows.counts(self._session), breakers.load(self._session))
        self._refresh_at = self.town.now + _REFRESH_MS

    def _probe(self) -> None:
        for queue in sorted(self.gate.open_queues()):
            with transaction(self._tables.journal, self._mishaps):
                waiting = breakers.lease_probe(self._session, queue, first_s=5.0, longest_s=60.0)
            if waiting is not None:
                self._mishaps.counts["probe"] += 1
                self._intake.append(AdmitItem(saga_id=waiting[0], path=waiting[1], probe=True))

    def _admit(self) -> None:
        for queue in sorted(self.gate.parked()):
            room = self.gate.room(queue)
            if room:
                steps = self._admissions.next(self._session, queue, min(room, 10))
                self._intake += [AdmitItem(saga_id=saga_id, path=path) for saga_id, path in steps]

    def prune(self) -> None:
        """Ended sagas leave, and placeholders that nobody started (E5, S1)."""
        try:
            with transaction(self._tables.journal, self._mishaps):
                expired = placeholders.expire(self._session, age_s=PLACEHOLDER_S, rows_max=1_000)
                wanted = {"retention_s": RETENTION_S, "rows_max": 1_000}
                pruned = self._session.exec_driver_sql(sql.PRUNE, wanted).rowcount
        except StoreUnavailable:
            return
        self._mishaps.counts["pruned"] += pruned
        self._mishaps.counts["placeholder expired"] += expired

    def _schedule(self) -> bool:
        """Hand over what is due; nothing is claimed (S4)."""
        now = self.town.now
        self._handed_over = {one: at for one, at in self._handed_over.items() if at > now - _AGAIN_MS}
        known = list(self._handed_over)
        wanted = {"ids": [one[0] for one in known], "dues": [one[1] for one in known]}
        rows = self._session.exec_driver_sql(schedules.DUE, wanted).all()
        for row in rows:
            self._handed_over[row.id, row.due_ms] = now
            planned = plan(Cron(row.cron, row.timezone), Missed(row.missed), row.due_ms, row.now_ms, _LATE_MS)
            self._intake.append(ScheduleItem(saga_id="", schedule=row.id, due_ms=row.due_ms, plan=planned))
        return bool(rows)

    def _postpone(self, late: Iterable[OutboxRow]) -> None:
        """Commands that were confirmed late: their timeouts run from the confirm (M4)."""
        commands = [
            wire.decode(wire.COMMAND, row.message.body) for row in late if row.message.type == wire.COMMAND
        ]
        told = [(one.saga, one.path, one.attempt) for one in commands if isinstance(one, wire.Command)]
        if not told:
            return
        columns = dict(zip(("saga_id", "path", "attempt"), map(list, zip(*told, strict=True)), strict=True))
        try:
            with transaction(self._tables.journal, self._mishaps):
                self._session.exec_driver_sql(sql.POSTPONE_TIMERS, columns)
        except StoreUnavailable:
            pass  # The timers fire early then, and count: one attempt of many.

    # The decider (E1)

    def _decide(self) -> None:
        count = self.town.rng.choice((1, 2, 3, 8))
        items, self._intake = self._intake[:count], self._intake[count:]
        self._in_hand = items
        self._mishaps.crash_point("a batch is received")
        confirmed = self.sender.take_confirmed()
        self._tables.appended.clear()
        self._tables.had.clear()
        now = self._tables.now()
        advancing = Advancing(PREFIX, self.town.body_bytes_max, self.gate, NULL_OBSERVER, now)
        try:
            with transaction(self._tables.journal, self._mishaps, self._committed):
                self._tables.outbox.delete(confirmed)
                outcome = self._batch(advancing).decide(list(items))
        except StoreUnavailable as error:
            self._taken_back(items, confirmed, advancing, error)
            return
        self.gate.batch_over()
        self.sender.deleted(confirmed)
        self._after_commit(items, outcome, advancing)

    def _batch(self, advancing: Advancing) -> Batch:
        return Batch(
            self._session,
            catalog=self._catalog,
            starts=self._starts,
            store=cast(OutboxStore, _Store(self.town)),
            owner=cast(UUID, self.sender.owner),
            advancing=advancing,
            shelf=self._shelf,
        )

    def _committed(self) -> None:
        self._in_hand = []
        self.town.auditor.committed(self._tables)

    def _taken_back(
        self, items: list[AnyItem], confirmed: list[int], advancing: Advancing, error: Exception
    ) -> None:
        self._in_hand = []
        for item in items:
            self._not_acked(item)
        self.sender.give_back(confirmed)
        advancing.take_back()
        self.gate.batch_over()
        self._shelf.drop(item.saga_id for item in items)
        for item in items:
            if isinstance(item, DoorItem) and item.answer is not None:
                cast("Future[Any]", item.answer).set_exception(error)
        left = [item for item in items if not from_a_door(item)]
        if isinstance(error, CommitUnknown):
            # Say nothing to anybody; redelivery and the sweep decide (O2, O3).
            self.sender.renew_owner()
            self._consumer.requeue([item.tag for item in left if item.tag is not None])
        else:
            self._intake = left + self._intake

    def _not_acked(self, item: AnyItem) -> None:
        acked = item.tag is not None and self._consumer.has_acked(item.tag)
        assert not acked, f"O3: a message was acknowledged, and never decided: {item.type}"

    def _after_commit(self, items: list[AnyItem], outcome: Outcome, advancing: Advancing) -> None:
        self.sender.offer(outcome.rows)
        for live in outcome.lives:
            if live.definition is not None:
                self._shelf.put(live.definition, live.now, live.birth)
        if outcome.receipts:
            self._mishaps.crash_point("before receipts are sent")
            self.sender.send(outcome.receipts)
        for answer in outcome.answers:
            answer()
        for tell in advancing.told:
            tell()
        self._mishaps.crash_point("before an acknowledgement")
        self._consumer.ack([item.tag for item in items if item.tag is not None])
