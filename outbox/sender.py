"""The fast path (O2): a process publishes from memory what it has just committed, and reads nothing.

insert with owner, commit --offer--> queue --> on the wire --confirmed--> deleted with the next transaction
                                       |            |
                                       +------------+--not confirmed, memory full--> given to the sweep
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Engine

from amends.db.crashpoints import crash_point
from amends.outbox.backoff import Backoff
from amends.outbox.cargo import Cargo, Landed
from amends.outbox.departures import Departures
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.holdings import Holdings
from amends.outbox.late import LATE_S, LateConfirmHook, tell_late
from amends.outbox.message import Message, OutboxRow
from amends.outbox.observer import OutboxObserver, Unobserved
from amends.outbox.owners import BEAT_S, Owner
from amends.outbox.ports import Broker, Fate, Topology
from amends.outbox.settling import Settling
from amends.outbox.storage import HandBack
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)

_IDLE_S: Final = 0.5
_LAUNCH_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderLimits:
    """Limits of a sender. `_s` are seconds.

    `rows_max` bounds what waits in memory; the surplus is given to the sweep. `window` bounds what is on the wire.
    A message not confirmed within `confirm_s` is given to the sweep. Confirmed rows nobody took for `idle_s` are
    deleted by the sender itself.
    """

    rows_max: int = 20_000
    window: int = 1_000
    confirm_s: float = 30.0
    idle_s: float = 0.05
    beat_s: float = BEAT_S
    reconnect_first_s: float = 0.1
    reconnect_longest_s: float = 5.0


class Sender:
    """One process's publisher of its own rows: one thread, one connection to the broker.

    `owner`, `offer`, `send`, `take_confirmed`, `deleted`, `give_back` and `renew_owner` may be called from any
    thread. `on_late_confirm` is called in the sender's thread with the rows that were confirmed more than a second
    after they were offered, and how late they were (M4). `receipts_to` is the queue of this table's receipts.
    """

    def __init__(
        self,
        broker: Broker,
        store: OutboxStore,
        database: Engine,
        *,
        label: str,
        topology: Topology | None = None,
        observer: OutboxObserver | None = None,
        crash_scope: Literal["coordinator", "participant"] = "coordinator",
        on_late_confirm: LateConfirmHook | None = None,
        receipts_to: str | None = None,
        limits: SenderLimits | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._database = database
        self._label = label
        self._observer: OutboxObserver = observer or Unobserved()
        self._scope: Final = crash_scope
        self._on_late_confirm = on_late_confirm
        self._receipts_to = receipts_to
        self._limits = limits or SenderLimits()
        self._inherited: list[object] = []
        self._follows_forks = False
        self._restarts = False
        if topology is not None:
            broker.declare(topology)
        self._begin()

    def _begin(self) -> None:
        """As new: nothing queued, a fresh owner, no connection. No I/O."""
        limits = self._limits
        self._lock = threading.Lock()
        self._queue: deque[Cargo] = deque()
        self._surplus: list[int] = []
        self._holdings = Holdings()
        self._departures = Departures(
            self._broker,
            self._observer,
            "memory",
            # Where a confirm waits for the consumer, a slow one must not keep the others' messages in the queue.
            window=limits.rows_max if self._broker.confirms_when_consumed else limits.window,
            confirm_s=limits.confirm_s,
            receipts_to=self._receipts_to,
        )
        self._settling = Settling(self._database, self._store, self._holdings, self._scope, limits.idle_s)
        self._owner = Owner(
            self._database, self._store, self._label, held=self._holdings.all, beat_s=limits.beat_s
        )
        self._reconnect = Backoff(limits.reconnect_first_s, limits.reconnect_longest_s)
        self._down_until: float | None = None
        self._nudge = threading.Event()
        self._stop_by: float | None = None
        self._thread: threading.Thread | None = None

    @property
    def owner(self) -> UUID:
        """The owner id to insert rows under; read it inside each transaction, it changes.

        Raises: StoreUnavailable while it could not be registered.
        """
        if self._restarts:
            self.start()
        return self._owner.id

    @property
    def broker_up(self) -> bool:
        """Whether the broker took what was sent last."""
        return self._down_until is None

    def start(self) -> None:
        """Register an owner and start publishing. A database or broker that is away is waited for."""
        if self._thread is not None:
            return
        if self._stop_by is not None:
            self._begin()  # It was stopped before.
        self._restarts = False
        if not self._follows_forks:
            after_fork = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (method := after_fork()) and method())
            self._follows_forks = True
        self._owner.start()
        self._thread = threading.Thread(target=self._run, name="amends-sender", daemon=True)
        self._thread.start()

    def _after_fork(self) -> None:
        """A child has none of its parent's threads, and must not use its name, rows or connections (O2)."""
        started = self._thread is not None
        # Kept for ever: closing the parent's connection here would end it for the parent as well.
        self._inherited.append(self._departures)
        self._database.dispose(close=False)
        self._begin()
        self._restarts = started

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Publish these rows, inserted under `owner` by a transaction that is known to have committed.

        Rows with a key or a delay are left to the sweep.
        """
        now = time.monotonic()
        mine = [row for row in rows if row.message.key is None and row.message.delay_s <= 0]
        if not mine:
            return
        self._holdings.add(row.id for row in mine)
        with self._lock:
            room = max(0, self._limits.rows_max - len(self._queue))
            self._queue.extend(Cargo(row.message, row, now) for row in mine[:room])
            self._surplus.extend(row.id for row in mine[room:])
        self._wake()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish messages that have no row. One that is not confirmed is lost; so are they all while we cannot."""
        now = time.monotonic()
        with self._lock:
            room = max(0, self._limits.rows_max - len(self._queue))
            self._queue.extend(Cargo(message, None, now) for message in messages[:room])
        self._wake()

    def take_confirmed(self) -> list[int]:
        """The rows the broker has, for the caller to delete in its transaction; then say `deleted` or `give_back`."""
        taken = self._holdings.take()
        if taken:
            crash_point(f"{self._scope}.delete.before")
        return taken

    def deleted(self, ids: Sequence[int]) -> None:
        """The transaction that deleted these is known to have committed."""
        if ids:
            self._holdings.done(ids)
            crash_point(f"{self._scope}.delete.after")

    def give_back(self, ids: Sequence[int]) -> None:
        """The transaction that was to delete these failed, or may have."""
        if ids:
            self._holdings.give_back(ids)

    def renew_owner(self) -> None:
        """After a COMMIT of unknown outcome: what it may have inserted becomes the sweep's (O2, O3)."""
        self._owner.renew()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Publish what can be within the timeout, give the rest to the sweep, and leave."""
        if self._thread is None:
            return
        self._stop_by = time.monotonic() + timeout_s
        self._wake()
        self._thread.join()
        self._thread = None

    def _wake(self) -> None:
        self._nudge.set()
        self._departures.wake()

    def _run(self) -> None:
        while not self._finished():
            try:
                self.turn()
            except BrokerUnavailable as error:
                self._broker_lost(error)
            except Exception as error:
                # Whatever it is, the rows must not be held by a thread that is gone.
                log.exception("sender_failed")
                self._departures.close()
                self._broker_lost(error)
        self._give_up_all(
            self._departures.abandon(), HandBack(0.0, "handed to the sweep: its process stopped")
        )
        self._settling.settle(confirmed_too=True)
        self._departures.close()
        self._owner.stop()

    def _finished(self) -> bool:
        if self._stop_by is None:
            return False
        if time.monotonic() >= self._stop_by or self._down_until is not None:
            return True
        return not self._queue and not self._departures.unsettled

    def turn(self, patience_s: float | None = None) -> None:
        """Publish what was offered, and take what became of it.

        Waits up to `patience_s` for the first answer; None: until something else is due. Raises: BrokerUnavailable.
        """
        now = time.monotonic()
        self._give_up_surplus()
        if self._down_until is not None and now < self._down_until:
            self._wait_while_down(self._down_until - now)
            return
        self._nudge.clear()
        if self._down_until is None:
            self._launch()
        landed = self._departures.land(self._patience_s(now) if patience_s is None else patience_s)
        if self._down_until is not None:
            self._down_until = None
            self._reconnect.reset()
            log.info("broker_back")
        self._landed(landed)
        self._hold_back(self._departures.unanswered())
        if self._settling.due_s(time.monotonic()) == 0.0:
            self._settling.settle()

    def _patience_s(self, now: float) -> float:
        """How long to wait for confirms: not at all while there is more to send and room for it."""
        if self._down_until is not None or (self._queue and self._departures.room):
            return 0.0
        due_s = self._settling.due_s(now)
        return _IDLE_S if due_s is None else min(_IDLE_S, due_s)

    def _launch(self) -> None:
        with self._lock:
            count = min(len(self._queue), self._departures.room, _LAUNCH_MAX)
            cargos = [self._queue.popleft() for _ in range(count)]
        if not cargos:
            return
        crash_point(f"{self._scope}.publish.before")
        self._hold_back(self._departures.launch(cargos))
        crash_point(f"{self._scope}.publish.after")

    def _landed(self, landed: Sequence[Landed]) -> None:
        if not landed:
            return
        now = time.monotonic()
        confirmed: list[int] = []
        late: list[tuple[OutboxRow, float]] = []
        for one in landed:
            row = one.cargo.row
            if one.fate is not Fate.CONFIRMED:
                self._missed(one)
                continue
            if row is None:
                continue
            if row.message.needs_receipt:
                self._settling.sent([row.id])
            else:
                confirmed.append(row.id)
            if now - one.cargo.taken_at > LATE_S:
                late.append((row, now - one.cargo.taken_at))
        if confirmed:
            crash_point(f"{self._scope}.confirm.after")
            self._holdings.confirmed(confirmed)
        if late:
            tell_late(self._on_late_confirm, late)

    def _missed(self, one: Landed) -> None:
        if one.cargo.row is None:
            return
        why = f"{one.fate.value}: {one.reason}"
        if one.fate is Fate.RETURNED:
            how = HandBack(1.0, why, counts=True, returned=True)
        elif one.fate in (Fate.UNROUTABLE, Fate.TOO_LARGE):
            how = HandBack(0.0, why)  # The sweep finds the culprit again, and parks it.
        else:
            how = HandBack(round(self._departures.wait_s(one.cargo), 1), why)
        self._settling.give_up([one.cargo.row.id], how)

    def _hold_back(self, cargos: Sequence[Cargo]) -> None:
        for cargo in cargos:
            if cargo.row is not None:
                delay_s = round(self._departures.wait_s(cargo), 1)
                why = "unconfirmed: its queue, or one beside it, does not confirm"
                self._settling.give_up([cargo.row.id], HandBack(delay_s, why))

    def _broker_lost(self, error: Exception) -> None:
        if self._down_until is None:
            log.warning("broker_lost", extra={"error": str(error)})
        self._down_until = time.monotonic() + self._reconnect.next_s()
        self._give_up_all(self._departures.abandon(), HandBack(0.2, f"unconfirmed: {error}"))
        self._settling.settle()

    def _give_up_all(self, cargos: list[Cargo], how: HandBack) -> None:
        with self._lock:
            cargos.extend(self._queue)
            self._queue.clear()
        self._settling.give_up([cargo.row.id for cargo in cargos if cargo.row is not None], how)

    def _give_up_surplus(self) -> None:
        with self._lock:
            surplus, self._surplus = self._surplus, []
        self._settling.give_up(surplus, HandBack(0.0, "handed to the sweep: memory full"))

    def _wait_while_down(self, seconds: float) -> None:
        """What is offered while the broker is away becomes the sweep's at once; the sweep waits as well."""
        due_s = self._settling.due_s(time.monotonic())
        self._nudge.wait(seconds if due_s is None else min(seconds, due_s))
        self._nudge.clear()
        self._give_up_all([], HandBack(0.2, "unconfirmed: the broker is away"))
        if self._settling.due_s(time.monotonic()) == 0.0:
            self._settling.settle()
