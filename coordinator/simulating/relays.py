"""The relay's model (`outbox/sweep.py`, `outcomes.py`, `receipts.py`): what nobody publishes from memory (O1 to O4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from amends.coordinator.simulating.broker import Broker, Consumer
from amends.coordinator.simulating.mishaps import Mishaps, transaction
from amends.coordinator.simulating.outboxes import OutboxTable
from amends.coordinator.simulating.processes import Move
from amends.coordinator.simulating.publishing import Cargo, Flight, LateHook, missed
from amends.coordinator.simulating.tables import Journal
from amends.db.errors import StoreUnavailable
from amends.outbox.errors import BrokerUnavailable
from amends.outbox.late import LATE_S
from amends.outbox.message import OutboxRow
from amends.outbox.ports import Fate
from amends.outbox.receipts import read_receipt
from amends.outbox.storage import HandBack
from amends.outbox.wire import Receipt

_LEASE_MS: Final = 30_000
_OWNERS_EVERY_MS: Final = 1_000


class Relay:
    """One process's relay of one outbox table. `receipts` is the queue of that table's receipts."""

    def __init__(
        self,
        broker: Broker,
        table: OutboxTable,
        journal: Journal,
        mishaps: Mishaps,
        *,
        receipts: str | None,
        on_late_confirm: LateHook | None = None,
        on_receipts: Callable[[Sequence[Receipt]], None] | None = None,
    ) -> None:
        self._table = table
        self._journal = journal
        self._mishaps = mishaps
        self._on_late_confirm = on_late_confirm
        self._on_receipts = on_receipts
        self._flight = Flight(broker, mishaps, receipts)
        self._in_hand: set[int] = set()
        self._gone: list[int] = []
        self._sent: list[int] = []
        self._parked: list[int] = []
        self._handed_back: dict[HandBack, list[int]] = {}
        self._owners_at = 0
        self.consumer = Consumer(broker, [receipts], prefetch=50) if receipts is not None else None

    def close(self) -> None:
        """The process dies."""
        if self.consumer is not None:
            self.consumer.close()

    @property
    def can_claim(self) -> bool:
        """Whether something is due."""
        return self._table.has_due

    @property
    def can_watch(self) -> bool:
        """Whether it is time to look for dead owners."""
        return self._table.now() >= self._owners_at and self._table.has_owned

    @property
    def can_land(self) -> bool:
        """Whether something is on the wire."""
        return len(self._flight) > 0

    @property
    def can_write(self) -> bool:
        """Whether something is to be written down."""
        return bool(self._gone or self._sent or self._parked or self._handed_back)

    def moves(self, rng: Random) -> Iterator[Move]:
        """What it could do now."""
        if self.can_land:
            yield 5.0, self.land
        if self.can_write:
            yield 4.0, self.write
        if self.consumer is not None and self.consumer.has_some:
            yield 3.0, lambda: self.receive(rng, 5)
        if self.can_claim:
            yield 3.0, lambda: self.claim(5)
        if self.can_watch:
            yield 1.0, self.watch_owners

    def watch_owners(self) -> bool:
        """Take rows from dead owners, about once a second; whether there were any."""
        try:
            with transaction(self._journal, self._mishaps):
                taken = self._table.disown_dead()
        except StoreUnavailable:
            return False
        self._owners_at = self._table.now() + _OWNERS_EVERY_MS
        return taken > 0

    def claim(self, most: int) -> bool:
        """Lease what is due, and publish it; whether there was something."""
        try:
            with transaction(self._journal, self._mishaps):
                rows = self._table.claim(most, _LEASE_MS)
        except StoreUnavailable:
            return False  # The leases of what may have been claimed run out.
        self._mishaps.crash_point("after a claim")
        fresh = [row for row in rows if row.id not in self._in_hand and not self._knows(row)]
        self._in_hand.update(row.id for row in fresh)
        now = self._table.now()
        try:
            self._flight.launch([Cargo(row.message, row, now - round(row.age_s * 1000)) for row in fresh])
        except BrokerUnavailable:
            self._lost(fresh)
        return bool(rows)

    def land(self) -> None:
        """Hear what the broker says."""
        try:
            landed = self._flight.land()
        except BrokerUnavailable:
            self._lost([])
            return
        self._mishaps.crash_point("after a confirm")
        late = []
        for cargo, fate in landed:
            row = cargo.row
            assert row is not None
            self._in_hand.discard(row.id)
            if fate is not Fate.CONFIRMED:
                self._missed(row, fate)
                continue
            (self._sent if row.message.needs_receipt else self._gone).append(row.id)
            if self._table.now() - cargo.taken > LATE_S * 1000:
                late.append(row)
        if late and self._on_late_confirm is not None:
            self._on_late_confirm(late)

    def write(self) -> None:
        """Write down what became of rows."""
        self._mishaps.crash_point("before what was relayed is written")
        try:
            with transaction(self._journal, self._mishaps):
                self._table.delete(self._gone)
                self._table.mark_sent(self._sent)
                self._table.park(self._parked)
                for how, ids in self._handed_back.items():
                    self._table.release(ids, how)
        except StoreUnavailable:
            return  # Writing it twice is harmless.
        self._gone, self._sent, self._parked, self._handed_back = [], [], [], {}

    def receive(self, rng: Random, most: int) -> bool:
        """Delete what is receipted; whether there were receipts."""
        if self.consumer is None or not self.consumer.has_some:
            return False
        deliveries = self.consumer.receive(rng, most)
        receipts = [read_receipt(delivery) for delivery in deliveries]
        if self._on_receipts is not None:
            self._on_receipts(receipts)
        try:
            with transaction(self._journal, self._mishaps):
                self._table.receive(receipts)
        except StoreUnavailable:
            self.consumer.requeue([delivery.tag for delivery in deliveries])
            return True
        self.consumer.ack([delivery.tag for delivery in deliveries])
        return True

    def _knows(self, row: OutboxRow) -> bool:
        back = (ids for ids in self._handed_back.values())
        return any(row.id in ids for ids in (self._gone, self._sent, self._parked, *back))

    def _missed(self, row: OutboxRow, fate: Fate) -> None:
        how = missed(row, fate, sweeping=True)
        if how is None:
            self._parked.append(row.id)
        else:
            self._handed_back.setdefault(how, []).append(row.id)

    def _lost(self, launched: list[OutboxRow]) -> None:
        rows = {cargo.row.id: None for cargo in self._flight.abandon() if cargo.row is not None}
        rows |= {row.id: None for row in launched}
        for id_ in rows:
            self._in_hand.discard(id_)
            self._handed_back.setdefault(HandBack(0.2, "the broker was lost"), []).append(id_)
