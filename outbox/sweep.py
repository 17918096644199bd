"""The sweep: publishes the rows that no living process publishes from memory (O1-O8).

due row --claim: leased--> on the wire --confirmed--> deleted, or marked sent (needs_receipt)
   ^                            |
   +------- handed back --------+--its own fault--> parked
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from amends.db.crashpoints import crash_point
from amends.db.engines import transaction
from amends.db.pipelines import glance, unflushed
from amends.outbox.backoff import Backoff, after
from amends.outbox.cargo import Cargo, Landed
from amends.outbox.departures import Departures
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.late import LATE_S, LateConfirmHook, tell_late
from amends.outbox.looks import Looks
from amends.outbox.message import OutboxRow
from amends.outbox.observer import OutboxObserver
from amends.outbox.outcomes import Outcomes
from amends.outbox.ports import Broker, Fate
from amends.outbox.storage import HandBack, OwnerRules
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)

_GATHER_S = 0.02
# A lease outlasts what its rows are waited for, with time to write it down.
_LEASE_BEYOND_S = 10.0
_OWNERS_MAX = 2_000
_LEAVE_S = 1.0
_PRUNE_EVERY_S = 600.0
_RETURN_FIRST_S, _RETURN_LONGEST_S = 1.0, 60.0
_HELD_BACK_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """Limits of a sweep. `_s` are seconds.

    `batch_rows_max` rows are claimed at a time, for `lease_s` (None: `confirm_s` and ten more); at most `window` are on
    the wire. A sweep that found rows looks again after `poll_first_s`, after a lull ever later, up to `poll_s`.
    A message not confirmed within `confirm_s` is handed back. A row that had no route for `returned_max_s` is parked.
    Dead owners are looked for every `owners_every_s`, and after the database was away only once living ones had
    `owners_pause_s` to tell.
    """

    batch_rows_max: int = 500
    window: int = 1_000
    lease_s: float | None = None
    confirm_s: float = 20.0
    poll_s: float = 0.1
    poll_first_s: float = 0.005
    returned_max_s: float = 3_600.0
    owners_every_s: float = 1.0
    owners_pause_s: float = 10.0
    reconnect_first_s: float = 0.1
    reconnect_longest_s: float = 5.0


class Sweep:
    """One thread's work: `run` until told to stop. Any number of sweeps share a table."""

    def __init__(
        self,
        database: Engine,
        broker: Broker,
        store: OutboxStore,
        *,
        limits: SweepLimits,
        rules: OwnerRules,
        observer: OutboxObserver,
        receipts_to: str | None,
        on_late_confirm: LateConfirmHook | None,
    ) -> None:
        self._database = database
        self._store = store
        self._limits = limits
        self._rules = rules
        self._observer = observer
        self._receipts_to = receipts_to
        self._on_late_confirm = on_late_confirm
        self._departures = Departures(
            broker,
            observer,
            "sweep",
            window=limits.window,
            confirm_s=limits.confirm_s,
            receipts_to=receipts_to,
        )
        self._lease_s = limits.confirm_s + _LEASE_BEYOND_S if limits.lease_s is None else limits.lease_s
        self._in_hand: set[int] = set()
        self._outcomes = Outcomes(database, store, observer)
        self._stopping = threading.Event()
        self._reconnect = Backoff(limits.reconnect_first_s, limits.reconnect_longest_s)
        self._database_backoff = Backoff(0.1, 5.0)
        self._down_until: float | None = 0.0
        self._poll_at = 0.0
        self._looks = Looks(limits.poll_first_s, limits.poll_s)
        self._more = False
        self._owners_at = 0.0
        self._prune_at = time.monotonic() + _PRUNE_EVERY_S
        self.broker_up = False
        self.database_up = True
        self.error = ""
        self.turned_at = time.monotonic()

    @property
    def in_flight(self) -> int:
        """How many rows are on the wire."""
        return self._departures.unsettled

    def stop(self) -> None:
        """Let `run` end: it hands back what is not confirmed yet. From any thread."""
        self._stopping.set()
        self._departures.wake()

    def run(self) -> None:
        """Sweep until `stop`. A broker or database that is away is waited for."""
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            try:
                self.turn()
            except BrokerUnavailable as error:
                self._broker_lost(error)
            except DATABASE_FAULTS as error:
                self._database_lost(error)
            except Exception:
                # Whatever it is, the rows must not wait for a thread that is gone.
                log.exception("sweep_failed")
                self._departures.close()
                self._broker_lost(BrokerUnavailable("the sweep failed; see its log"))
        self._leave()

    def turn(self) -> None:
        """Take over what nobody publishes, publish what is due, write down what became of it.

        Waits for that as long as nothing else is due. Raises: BrokerUnavailable, and what the database raises.
        """
        if self._down_until is not None:
            self._wait_for_broker(self._down_until)
            return
        now = time.monotonic()
        self._watch_owners(now)
        self._claim_and_launch(now)
        self._landed(self._departures.land(self._patience_s()))
        self._hold_back(self._departures.unanswered())
        self._write_if_due()

    def _wait_for_broker(self, moment: float) -> None:
        """Nothing is claimed while the broker is away: other relays may reach it."""
        self._stopping.wait(max(0.0, min(moment, self._due_at()) - time.monotonic()))
        self._write_if_due()
        if time.monotonic() >= moment and not self._stopping.is_set():
            self._landed(self._departures.land(0.0))
            self._broker_back()

    def _patience_s(self) -> float:
        """How long to wait for confirms: not at all while there is more to send and room for it."""
        now = time.monotonic()
        if self._more:
            return 0.0 if self._has_room() else max(0.0, min(self._due_at() - now, self._limits.poll_s))
        return max(0.0, min(self._poll_at, self._due_at()) - now)

    def _has_room(self) -> bool:
        """Whether a claim is worth its while: with a backlog, half a batch fits."""
        limits = self._limits
        least = max(1, min(limits.batch_rows_max, limits.window) // 2) if self._more else 1
        return self._departures.room >= least

    def _due_at(self) -> float:
        """When what became of rows is to be written: once enough is gathered, or nothing more is awaited."""
        since = self._outcomes.since
        if since is None:
            return float("inf")
        enough = self._outcomes.count >= self._limits.batch_rows_max or not self._departures.unsettled
        return since if enough else since + _GATHER_S

    def _claim_and_launch(self, now: float) -> None:
        """Take what is due and publish it: when it is time to look, or when there was more than we took."""
        if not (self._more or now >= self._poll_at) or not self._has_room():
            return
        rows = self._claim() if self._more or not self.database_up or self._sees_any() else []
        now = time.monotonic()
        self._poll_at = now + self._looks.next_s(now, found=bool(rows))
        # What is still on the wire here has only had its lease renewed.
        fresh = [row for row in rows if row.id not in self._in_hand and not self._outcomes.has(row.id)]
        if not fresh:
            return
        self._in_hand.update(row.id for row in fresh)
        crash_point("relay.publish.before")
        self._hold_back(self._departures.launch([Cargo(row.message, row, now - row.age_s) for row in fresh]))
        crash_point("relay.publish.after")

    def _sees_any(self) -> bool:
        looking = self._store.looking(self._database)
        with self._store.naming_tables():
            return looking is None or glance(self._database, looking)

    def _claim(self) -> list[OutboxRow]:
        room = min(self._limits.batch_rows_max, self._departures.room)
        crash_point("relay.claim.before")
        # One transaction: a batch of rows is leased to this sweep, and read. A lease that is lost is a row sent twice.
        with unflushed(self._database) as connection:
            rows, self._more = self._store.claim_batch(connection, room, self._lease_s)
        self._database_back()
        crash_point("relay.claim.after")
        return rows

    def _landed(self, landed: Sequence[Landed]) -> None:
        if not landed:
            return
        now = time.monotonic()
        late = []
        for one in landed:
            row = self._row(one.cargo)
            if one.fate is not Fate.CONFIRMED:
                self._missed(row, one)
                continue
            self._outcomes.confirmed(row)
            if now - one.cargo.taken_at > LATE_S:
                late.append((row, now - one.cargo.taken_at))
        crash_point("relay.confirm.after")
        if late:
            tell_late(self._on_late_confirm, late)

    def _row(self, cargo: Cargo) -> OutboxRow:
        """The cargo's row, which is about to get its outcome."""
        assert cargo.row is not None, "a sweep publishes nothing but rows"
        self._in_hand.discard(cargo.row.id)
        return cargo.row

    def _missed(self, row: OutboxRow, one: Landed) -> None:
        why = f"{one.fate.value}: {one.reason}"
        if one.fate is Fate.RETURNED:
            if row.returned_s is not None and row.returned_s >= self._limits.returned_max_s:
                self._outcomes.parked(row, f"{why}; no route for {row.returned_s / 60:.0f} minutes")
            else:
                delay_s = after(row.attempts, _RETURN_FIRST_S, _RETURN_LONGEST_S)
                self._outcomes.handed_back(row, HandBack(delay_s, why, counts=True, returned=True))
        elif one.fate in (Fate.UNROUTABLE, Fate.TOO_LARGE):
            self._outcomes.parked(row, why)
        else:
            self._outcomes.handed_back(row, HandBack(round(self._departures.wait_s(one.cargo), 1), why))

    def _hold_back(self, cargos: Sequence[Cargo]) -> None:
        """Their queues do not confirm: the rows back off by themselves, the longer the older they are (O4)."""
        now = time.monotonic()
        for cargo in cargos:
            pause_s = min(_HELD_BACK_LONGEST_S, (now - cargo.taken_at) / 4)
            delay_s = max(self._departures.wait_s(cargo), pause_s)
            # In half seconds, so that many rows share a statement.
            how = HandBack(
                max(0.5, round(2 * delay_s) / 2), "unconfirmed: its queue, or one beside it, is mute"
            )
            self._outcomes.handed_back(self._row(cargo), how)

    def _write_if_due(self) -> None:
        if self._due_at() > time.monotonic():
            return
        if self._outcomes.write():
            # The next row of an ordering key, or what came meanwhile, need not wait for the next look.
            self._poll_at = time.monotonic()
        self._database_back()

    def _watch_owners(self, now: float) -> None:
        if now < self._owners_at:
            return
        # One transaction: rows of dead owners become the sweep's.
        with transaction(self._database) as connection:
            taken = self._store.disown_dead(connection, _OWNERS_MAX, self._rules)
            if now >= self._prune_at:
                self._store.prune_owners(connection, self._rules.dead_s)
                self._prune_at = now + _PRUNE_EVERY_S
        self._owners_at = now if taken == _OWNERS_MAX else now + self._limits.owners_every_s
        if taken:
            log.info("dead_owners_rows_taken", extra={"rows": taken})
            self._observer.taken_over(taken)
            self._poll_at = now

    def _broker_lost(self, error: BrokerUnavailable) -> None:
        if self.broker_up or not self.error:
            log.warning("broker_lost", extra={"error": told(error)})
        self.broker_up, self.error = False, str(error)
        self._down_until = time.monotonic() + self._reconnect.next_s()
        for cargo in self._departures.abandon():
            self._outcomes.handed_back(self._row(cargo), HandBack(0.2, "unconfirmed: the broker was lost"))
        try:
            self._outcomes.write()
        except DATABASE_FAULTS as fault:
            self._database_lost(fault)

    def _broker_back(self) -> None:
        if not self.broker_up:
            log.info("broker_connected")
        self.broker_up, self.error, self._down_until = True, "", None
        self._reconnect.reset()
        self._poll_at = 0.0

    def _database_lost(self, error: Exception) -> None:
        """Nothing is claimed while the database is away. What is on the wire is still listened for."""
        now = time.monotonic()
        pause_s = self._database_backoff.next_s()
        if self.database_up:
            log.warning("database_lost", extra={"error": told(error)})
        self.database_up, self.error = False, told(error)
        self._more, self._poll_at = False, now + pause_s
        # Living owners could not tell either: let them, before they are taken for dead.
        self._owners_at = now + pause_s + self._limits.owners_pause_s
        self._outcomes.wait_until(now + pause_s)

    def _database_back(self) -> None:
        if not self.database_up:
            log.info("database_back")
            self.database_up, self.error = True, ""
        self._database_backoff.reset()

    def _leave(self) -> None:
        self._await_confirms()
        for cargo in self._departures.abandon():
            self._outcomes.handed_back(self._row(cargo), HandBack(0.0, "unconfirmed: its relay stopped"))
        try:
            self._outcomes.write()
        except DATABASE_FAULTS as error:
            # The leases run out by themselves.
            log.warning("sweep_left_leases", extra={"error": told(error)})
        self._departures.close()

    def _await_confirms(self) -> None:
        """What is on the wire is about to be confirmed: not to wait for it is to have it sent twice at each stop."""
        deadline = time.monotonic() + _LEAVE_S
        try:
            while self._departures.unsettled and time.monotonic() < deadline:
                self._landed(self._departures.land(max(0.0, deadline - time.monotonic())))
        except BrokerUnavailable as error:
            log.info("sweep_left_unconfirmed", extra={"error": told(error)})
