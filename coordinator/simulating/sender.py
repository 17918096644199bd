"""The fast path's model (`outbox/sender.py`, `settling.py`, `owners.py`, `holdings.py`): O1, O2, O3.

A process publishes from memory what it has just committed under its owner's name, and deletes what is confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from amends.coordinator.simulating.broker import Broker
from amends.coordinator.simulating.mishaps import Mishaps, transaction
from amends.coordinator.simulating.outboxes import OutboxTable
from amends.coordinator.simulating.processes import Move
from amends.coordinator.simulating.publishing import Cargo, Flight, LateHook, missed
from amends.coordinator.simulating.tables import Journal
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.late import LATE_S
from amends.outbox.message import Message, OutboxRow
from amends.outbox.owners import BEAT_S
from amends.outbox.ports import Fate
from amends.outbox.storage import HandBack


class Sender:
    """One process's publisher of its own rows. All of it is memory: a process that dies loses it."""

    def __init__(
        self,
        broker: Broker,
        table: OutboxTable,
        journal: Journal,
        mishaps: Mishaps,
        *,
        names: Callable[[], int],
        receipts_to: str | None = None,
        on_late_confirm: LateHook | None = None,
    ) -> None:
        self._table = table
        self._journal = journal
        self._mishaps = mishaps
        self._names = names
        self._on_late_confirm = on_late_confirm
        self._flight = Flight(broker, mishaps, receipts_to)
        self._queue: list[Cargo] = []
        self._held: dict[int, None] = {}
        self._confirmed: list[int] = []
        self._sent: list[int] = []
        self._given_up: dict[HandBack, list[int]] = {}
        self._id = names()
        self._registered = False
        self._retired: list[int] = []
        self._beat_at = 0

    # The owner's name (O2)

    @property
    def owner(self) -> int:
        """The name to insert rows under. Raises: StoreUnavailable while it is not registered."""
        if not self._registered:
            raise StoreUnavailable("the owner is not registered yet")
        return self._id

    @property
    def beat_is_due(self) -> bool:
        """Whether a heartbeat is due, or the name is not registered yet."""
        return not self._registered or self._table.now() >= self._beat_at

    def beat(self) -> None:
        """Tell that this owner lives; a fresh name takes over the rows known to be committed."""
        try:
            with transaction(self._journal, self._mishaps):
                self._table.beat(self._id)
                if self._retired:
                    self._table.adopt(sorted(self._held), self._id)
                for owner in self._retired:
                    self._table.forget_owner(owner)
        except StoreUnavailable:
            return
        self._retired.clear()
        self._registered = True
        self._beat_at = self._table.now() + round(BEAT_S * 1000)

    def renew_owner(self) -> None:
        """After a COMMIT of unknown outcome: what it may have inserted becomes the sweep's."""
        self._retired.append(self._id)
        self._id = self._names()
        self._registered = False

    # What the process hands over

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Publish rows of a transaction that is known to have committed. What is delayed is left to the sweep."""
        mine = [row for row in rows if row.message.delay_s <= 0]
        self._held.update(dict.fromkeys(row.id for row in mine))
        if mine and self._mishaps.strikes("memory full", 0.01):
            self._give_up([row.id for row in mine], HandBack(0.0, "memory full"))
            return
        self._queue += [Cargo(row.message, row, self._table.now()) for row in mine]

    def send(self, messages: Iterable[Message]) -> None:
        """Publish messages that have no row: one that is not confirmed is lost."""
        self._queue += [Cargo(message, None, self._table.now()) for message in messages]

    def take_confirmed(self) -> list[int]:
        """The rows the broker has, for the caller to delete in its transaction."""
        taken, self._confirmed = self._confirmed, []
        return taken

    def deleted(self, ids: Sequence[int]) -> None:
        """The transaction that deleted these is known to have committed."""
        for id_ in ids:
            self._held.pop(id_, None)

    def give_back(self, ids: Sequence[int]) -> None:
        """The transaction that was to delete these failed, or may have."""
        self._confirmed = [*ids, *self._confirmed]

    # Its thread's moves

    def moves(self, rng: Random) -> Iterator[Move]:
        """What it could do now."""
        if self.beat_is_due:
            yield 20.0, self.beat
        if self.can_launch:
            yield 6.0, lambda: self.launch(rng.randint(1, 6))
        if self.can_land:
            yield 5.0, self.land
        if self.can_settle:
            yield 2.0, self.settle

    @property
    def can_launch(self) -> bool:
        """Whether something waits to be published."""
        return bool(self._queue)

    @property
    def can_land(self) -> bool:
        """Whether something is on the wire."""
        return len(self._flight) > 0

    @property
    def can_settle(self) -> bool:
        """Whether something is to be written down."""
        return bool(self._confirmed or self._sent or self._given_up)

    def launch(self, most: int) -> None:
        """Publish some."""
        self._mishaps.crash_point("before a publish")
        cargos, self._queue = self._queue[:most], self._queue[most:]
        try:
            self._flight.launch(cargos)
        except BrokerUnavailable:
            self._lost(cargos)
        self._mishaps.crash_point("after a publish")

    def land(self) -> None:
        """Hear what the broker says."""
        try:
            landed = self._flight.land()
        except BrokerUnavailable:
            self._lost([])
            return
        late = []
        for cargo, fate in landed:
            if cargo.row is None:
                continue
            if fate is not Fate.CONFIRMED:
                how = missed(cargo.row, fate, sweeping=False)
                self._give_up([cargo.row.id], how or HandBack(0.0, "parked"))
                continue
            if cargo.message.needs_receipt:
                self._sent.append(cargo.row.id)
            else:
                self._confirmed.append(cargo.row.id)
            if self._table.now() - cargo.taken > LATE_S * 1000:
                late.append(cargo.row)
        if late and self._on_late_confirm is not None:
            self._on_late_confirm(late)

    def settle(self) -> None:
        """Write down what became of rows, in a transaction of its own."""
        confirmed = self.take_confirmed()
        self._mishaps.crash_point("before confirmed rows are deleted")
        try:
            with transaction(self._journal, self._mishaps):
                self._table.delete(confirmed)
                self._table.mark_sent(self._sent)
                for how, ids in self._given_up.items():
                    self._table.disown(ids, how)
        except (CommitUnknown, StoreUnavailable):
            self.give_back(confirmed)
            return
        self.deleted([*confirmed, *self._sent, *(id_ for ids in self._given_up.values() for id_ in ids)])
        self._sent.clear()
        self._given_up.clear()

    def _give_up(self, ids: Sequence[int], how: HandBack) -> None:
        if ids:
            self._given_up.setdefault(how, []).extend(ids)

    def _lost(self, launched: Sequence[Cargo]) -> None:
        aloft = self._flight.abandon()
        lost = {cargo.row.id: None for cargo in (*aloft, *launched, *self._queue) if cargo.row is not None}
        self._queue.clear()
        self._give_up(list(lost), HandBack(0.2, "the broker was lost"))
