"""The decider: takes batches from the intake and carries each through its transaction (E1, E2, E5)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, InvalidStateError
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Final

from sqlalchemy import Connection, Engine

from amends.coordinator.catalog import Catalog
from amends.coordinator.engine.batch import Batch, Outcome
from amends.coordinator.engine.gate import Gate
from amends.coordinator.engine.intake import AnyItem, DoorItem, Intake, ScheduleItem, from_a_door
from amends.coordinator.engine.lives import Advancing
from amends.coordinator.engine.opening import open_batch
from amends.coordinator.engine.quarantine import quarantine
from amends.coordinator.engine.settings import EngineSettings
from amends.coordinator.engine.shelf import Shelf
from amends.coordinator.engine.starts import Starts
from amends.coordinator.engine.transient import is_transient
from amends.coordinator.observer import Observer
from amends.db.crashpoints import crash_point
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.db.pipelines import pipelined
from amends.outbox.gathering import Gathering
from amends.outbox.message import OutboxRow
from amends.outbox.sender import Sender
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)

FAILURES_MAX: Final = 3
IDLE_S: Final = 0.5
WAITS_MAX: Final = 2
LOAD: Final = 16  # From batches of so many events on the next ones are let grow.


@dataclass(frozen=True, slots=True)
class Acknowledging:
    """What to do with deliveries: `done` with those that are durable, `later` with those that are not ours yet."""

    done: Callable[[Iterable[int]], None]
    later: Callable[[Iterable[int]], None]


def _nothing(_: Sequence[OutboxRow]) -> None:
    """Nobody is told."""


class Decider:
    """One thread, the only one of a coordinator that advances sagas."""

    def __init__(
        self,
        *,
        database: Engine,
        catalog: Catalog,
        intake: Intake,
        gate: Gate,
        store: OutboxStore,
        sender: Sender,
        acknowledging: Acknowledging,
        observer: Observer,
        prefix: str,
        settings: EngineSettings,
        before_offer: Callable[[Sequence[OutboxRow]], None] | None = None,
    ) -> None:
        """`before_offer` is told of the messages of a batch that has committed, before they are published."""
        self._before_offer = before_offer or _nothing
        self._database = database
        self._catalog = catalog
        self._intake = intake
        self._gate = gate
        self._store = store
        self._sender = sender
        self._acknowledging = acknowledging
        self._observer = observer
        self._prefix = prefix
        self._settings = settings
        self._starts = Starts(catalog, unknown_version_s=settings.unknown_version_s, again_s=settings.again_s)
        self._stopping = Event()
        self._shelf = Shelf(settings.shelf_bytes_max)
        self._advancing: Advancing | None = None  # of the transaction under way
        self._gathering = Gathering(LOAD)
        self.turned_at = time.monotonic()
        self.database_up = True

    def run(self) -> None:
        """Decide until `stop`; what is taken is finished."""
        while not self._stopping.is_set():
            self.turn(IDLE_S)

    def turn(self, timeout_s: float) -> None:
        """Decide one batch; waits up to `timeout_s` for its first event."""
        self.turned_at = time.monotonic()
        most = self._settings.batch_events_max
        if self._gathering.wait_s:
            self._intake.gather(most, min(timeout_s, self._gathering.wait_s))
        items = self._intake.take(most, timeout_s)
        began = time.monotonic()
        if items:
            crash_point("coordinator.batch.received")
            self._carry(items)
        elif not self.database_up:
            self._carry([])  # Doors are turned away until a transaction has shown that it is back.
        self._gathering.done(len(items), time.monotonic() - began)

    def stop(self) -> None:
        """Let `run` return after the batch under way."""
        self._stopping.set()
        self._intake.wake()

    def _carry(self, items: list[AnyItem]) -> None:
        """Process these items, whatever it takes: wait for the database, single out what fails."""
        pause_s = self._settings.retry_first_s
        waits = 0
        while not self._stopping.is_set():
            try:
                self._process(items)
            except CommitUnknown as error:
                self._commit_unknown(items, error)
                return
            except StoreUnavailable as error:
                self._away(error)
                items = self._without_doors(items + self._intake.take_doors(), error)
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, self._settings.retry_longest_s)
                self.turned_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 - Whatever it is, it is singled out and quarantined (E2).
                if len(items) > 1:
                    self._single_out(items, error)
                    return
                if items and self._spoiled(items[0], error):
                    return
                if items and is_transient(error) and (waits := waits + 1) > WAITS_MAX:
                    self._hand_back(items[0], error)
                    return
                if not items or is_transient(error):
                    log.warning("event_waits", extra={"events": len(items), "error": _text(error)})
                    self._stopping.wait(pause_s)
                    pause_s = min(pause_s * 2, self._settings.retry_longest_s)
                self.turned_at = time.monotonic()
            else:
                self._back()
                return
        # Taken, and not decided any more: the broker gives it to another, and doors are told.
        self._without_doors(items, CancelledError("the coordinator is stopping; ask another"))

    def _process(self, items: list[AnyItem]) -> None:
        began = time.monotonic()
        fires = any(isinstance(item, ScheduleItem) for item in items)
        confirmed = self._sender.take_confirmed()
        try:
            # One transaction: headers, steps, log, outbox and timers of every saga in the batch, with the outbox
            # rows that were confirmed before it.
            with pipelined(self._database) as connection:
                self._delete(connection, confirmed)
                outcome, advancing = self._decide(connection, items)
                if fires:
                    crash_point("coordinator.schedule.before")
                crash_point("coordinator.commit.before")
        except BaseException:
            self._sender.give_back(confirmed)
            self._take_back()
            self._shelf.drop(item.saga_id for item in items)
            raise
        if fires:
            crash_point("coordinator.schedule.after")
        crash_point("coordinator.commit.after")
        self._committed()
        self._sender.deleted(confirmed)
        self._after_commit(items, outcome, advancing)
        _attempt(partial(self._observer.batch_done, len(items), time.monotonic() - began))

    def _decide(self, connection: Connection, items: list[AnyItem]) -> tuple[Outcome, Advancing]:
        opening = open_batch(connection, items)
        limit, now_ms = self._settings.body_bytes_max, opening.now_ms
        advancing = Advancing(self._prefix, limit, self._gate, self._observer, now_ms)
        self._advancing = advancing
        batch = Batch(
            connection,
            catalog=self._catalog,
            starts=self._starts,
            store=self._store,
            owner=self._sender.owner,
            advancing=advancing,
            shelf=self._shelf,
            opening=opening,
        )
        return batch.decide(items), advancing

    def _delete(self, connection: Connection, confirmed: list[int]) -> None:
        deleting = self._store.deleting(connection, confirmed) if confirmed else None
        if deleting is not None:
            connection.exec_driver_sql(*deleting)  # It travels with the next statement that is waited for.

    def _take_back(self) -> None:
        if self._advancing is not None:
            self._advancing.take_back()
        self._committed()

    def _committed(self) -> None:
        # What it moved is moved: a transaction that fails before it decides anything has nothing to take back.
        self._advancing = None
        self._gate.batch_over()

    def _after_commit(self, items: list[AnyItem], outcome: Outcome, advancing: Advancing) -> None:
        """Publish, tell, acknowledge, each whatever became of the one before: committed is committed.

        Nothing raised here may reach who would process the items again: an act would be done, and audited, twice.
        """
        _attempt(partial(self._before_offer, outcome.rows))
        _attempt(partial(self._sender.offer, outcome.rows))
        _attempt(partial(self._shelve, outcome))
        _attempt(partial(self._receipt, outcome))
        for tell in (*outcome.answers, *advancing.told):
            _attempt(tell)
        _attempt(partial(self._acknowledge, items, outcome))

    def _shelve(self, outcome: Outcome) -> None:
        for live in outcome.lives:
            if live.definition is not None:
                self._shelf.put(live.definition, live.now, live.birth)

    def _receipt(self, outcome: Outcome) -> None:
        if outcome.receipts:
            crash_point("coordinator.receipt.before")
            self._sender.send(outcome.receipts)
            crash_point("coordinator.receipt.after")

    def _acknowledge(self, items: list[AnyItem], outcome: Outcome) -> None:
        crash_point("coordinator.ack.before")
        not_ours = set(outcome.newer)
        self._acknowledging.done(
            [item.tag for item in items if item.tag is not None and item.tag not in not_ours]
        )
        if not_ours:
            self._acknowledging.later(not_ours)
        crash_point("coordinator.ack.after")

    def _commit_unknown(self, items: list[AnyItem], error: CommitUnknown) -> None:
        """It may have happened or not: say nothing to anybody; redelivery and the sweep decide (O2, O3)."""
        log.warning("commit_unknown", extra={"events": len(items)})
        self._sender.renew_owner()
        self._without_doors(items, error)
        self._acknowledging.later([item.tag for item in items if item.tag is not None])

    def _without_doors(self, items: list[AnyItem], error: Exception) -> list[AnyItem]:
        """Doors do not wait for a database that is away: they are told, and ask again."""
        for item in items:
            if isinstance(item, DoorItem) and item.answer is not None:
                _say(lambda answer=item.answer: answer.set_exception(error))  # type: ignore[misc]
        return [item for item in items if not from_a_door(item)]

    def _single_out(self, items: list[AnyItem], error: Exception) -> None:
        """One of them fails: let each run alone (E2)."""
        log.warning("batch_failed", extra={"events": len(items), "error": _text(error)})
        for item in items:
            self._carry([item])

    def _hand_back(self, item: AnyItem, error: Exception) -> None:
        """Somebody holds this saga's row for long: it comes again later, and the others need not wait for it.

        A delivery goes back to the queue, a claimed timer's lease runs out, an admission is drawn again.
        """
        log.warning("event_handed_back", extra={"saga_id": item.saga_id, "error": _text(error)})
        self._without_doors([item], StoreUnavailable("the saga is locked by somebody else; ask again"))
        if item.tag is not None:
            self._acknowledging.later([item.tag])

    def _spoiled(self, item: AnyItem, error: Exception) -> bool:
        """Quarantine what failed alone three times over (E2). False: it is to be tried again."""
        item.failures += 0 if is_transient(error) else 1
        if item.failures < FAILURES_MAX:
            return False
        log.error("event_quarantined", extra={"saga_id": item.saga_id, "error": _text(error)}, exc_info=error)
        self._quarantine(item, error)
        return True

    def _quarantine(self, item: AnyItem, error: Exception) -> None:
        self._without_doors([item], error)
        try:
            outcome, advancing = quarantine(self._database, item, _text(error), self._decide, self._take_back)
        except Exception as again:
            self._take_back()
            if isinstance(again, CommitUnknown):
                self._sender.renew_owner()
            if isinstance(again, StoreUnavailable):
                self._away(again)
            elif is_transient(again):
                log.warning("event_handed_back", extra={"saga_id": item.saga_id, "error": _text(again)})
            else:
                # One event that cannot even be put aside must not end the thread that decides all others.
                log.exception("event_not_quarantined", extra={"saga_id": item.saga_id})
            self._acknowledging.later([] if item.tag is None else [item.tag])
            return
        self._committed()
        self._after_commit([item], outcome, advancing)

    def _away(self, error: Exception) -> None:
        if self.database_up:
            log.warning("database_away", extra={"error": _text(error)})
        self.database_up = False

    def _back(self) -> None:
        if not self.database_up:
            log.info("database_back")
        self.database_up = True


def _attempt(deed: Callable[[], None]) -> None:
    try:
        _say(deed)
    except Exception:
        log.exception("after_commit_failed")


def _say(answer: Callable[[], None]) -> None:
    try:
        answer()
    except InvalidStateError:
        log.debug("answer_not_awaited")  # Its door has gone: a client that hung up.


def _text(error: Exception) -> str:
    # Only the first line: the rest of a database error repeats parameters, which are payloads.
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]
