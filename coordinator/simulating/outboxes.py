"""An outbox table, as the statements of `amends.outbox` change it (O1, O2, O7)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from amends.outbox.message import Message, OutboxRow
from amends.outbox.storage import HandBack, OwnerRules, Resend
from amends.outbox.wire import REPORT, TELL, Receipt

if TYPE_CHECKING:
    from amends.coordinator.simulating.tables import Journal


class Row(NamedTuple):
    """A message that waits, and who publishes it. Times are ms of its database's clock."""

    id: int
    message: Message
    owner: int | None
    created: int
    due: int
    leased: int | None = None
    attempts: int = 0
    sent: int | None = None
    parked: bool = False
    returned: int | None = None


_RESEND = Resend()
_RULES = OwnerRules()


class OutboxTable:
    """The rows, and the heartbeats of those who own some."""

    def __init__(self, now: Callable[[], int], journal: Journal, taken: Callable[[str], bool]) -> None:
        self.now = now
        self._journal = journal
        self._taken = taken
        self.rows: dict[int, Row] = {}
        self.beats: dict[int, int] = {}
        self._next = 0  # A sequence: what is rolled back is not given out again.

    def insert(self, messages: Iterable[Message], owner: int | None) -> list[int]:
        """Store messages; what is delayed has no owner."""
        now, ids = self.now(), []
        for message in messages:
            self._next += 1
            delay = round(message.delay_s * 1000)
            holder = owner if delay <= 0 else None
            self._put(Row(self._next, message, holder, now, now + delay))
            ids.append(self._next)
        return ids

    def delete(self, ids: Iterable[int]) -> None:
        """Confirmed rows go, but for those that wait for a receipt (O1)."""
        for row in self._these(ids):
            self._was_taken(row)
            kin = row.message.type in (TELL, REPORT)
            assert not kin or row.message.needs_receipt, f"O1: {row.message.type} goes without its receipt"
            if not row.message.needs_receipt:
                self._journal.drop(self.rows, row.id)

    def receive(self, receipts: Iterable[Receipt]) -> int:
        """What is receipted goes. The message's id must match: a receipt for another table's row is ignored."""
        gone = 0
        for receipt in receipts:
            row = self.rows.get(receipt.row)
            if row is not None and row.message.message_id == receipt.message_id and row.message.needs_receipt:
                gone += self._journal.drop(self.rows, row.id)
        return gone

    @property
    def has_due(self) -> bool:
        """Whether a sweep would find something."""
        now = self.now()
        return any(row.owner is None and row.due <= now and not row.parked for row in self.rows.values())

    @property
    def has_owned(self) -> bool:
        """Whether rows have owners, who may be dead."""
        return any(row.owner is not None for row in self.rows.values())

    def claim(self, rows_max: int, lease_ms: int) -> list[OutboxRow]:
        """Lease what is due and nobody's, oldest first."""
        now = self.now()
        due = [row for row in self.rows.values() if row.owner is None and not row.parked and row.due <= now]
        due.sort(key=lambda row: (row.due, row.id))
        for row in due[:rows_max]:
            self._put(row._replace(due=now + lease_ms, leased=now + lease_ms))
        return [_read(row, now) for row in sorted(due[:rows_max], key=lambda row: row.id)]

    def release(self, ids: Iterable[int], how: HandBack) -> None:
        """A relay hands back what it had leased."""
        for row in self._these(ids):
            if row.owner is None and not row.parked:
                self._hand_back(row, how)

    def disown(self, ids: Iterable[int], how: HandBack) -> None:
        """An owner gives rows to the sweep; what a relay has taken over already is left to it."""
        for row in self._these(ids):
            if row.owner is not None:
                self._hand_back(row, how)

    def mark_sent(self, ids: Iterable[int]) -> None:
        """Confirmed, and to wait for the receipt; sent again with back-off (O1)."""
        now = self.now()
        for row in self._these(ids):
            self._was_taken(row)
            if row.message.needs_receipt and not row.parked:
                wait = min(_RESEND.first_s * 2.0 ** min(row.attempts, 30), _RESEND.longest_s)
                self._put(
                    row._replace(
                        sent=now,
                        owner=None,
                        leased=None,
                        attempts=row.attempts + 1,
                        returned=None,
                        due=now + round(wait * 1000),
                    )
                )

    def park(self, ids: Iterable[int]) -> None:
        """Set aside for an operator (O4)."""
        for row in self._these(ids):
            self._put(row._replace(parked=True, owner=None, leased=None))

    def retry_parked(self) -> int:
        """An operator lets parked rows go again."""
        parked = [row for row in self.rows.values() if row.parked]
        for row in parked:
            self._put(row._replace(parked=False, attempts=0, returned=None, due=self.now(), leased=None))
        return len(parked)

    def beat(self, owner: int) -> None:
        """An owner lives."""
        self._journal.put(self.beats, owner, self.now())

    def forget_owner(self, owner: int) -> None:
        """An owner goes; what it leaves is swept."""
        self._journal.drop(self.beats, owner)

    def adopt(self, ids: Collection[int], owner: int) -> None:
        """A process that took a fresh name keeps the rows that it knows to be committed."""
        for row in self._these(ids):
            if row.owner is not None:
                self._put(row._replace(owner=owner))

    def disown_dead(self) -> int:
        """Take rows from dead owners, and forgotten ones from living owners (O2)."""
        now, taken = self.now(), 0
        for row in [row for row in self.rows.values() if row.owner is not None]:
            beat = self.beats.get(row.owner) if row.owner is not None else None
            if beat is not None and beat > now - _RULES.dead_s * 1000:
                if row.created > now - _RULES.backstop_s * 1000:
                    continue
                if row.leased is None:
                    self._put(row._replace(leased=now + round(_RULES.grace_s * 1000)))
                    continue
                if row.leased > now:
                    continue
            self._put(row._replace(owner=None, leased=None, due=now))
            taken += 1
        return taken

    def soonest(self) -> int | None:
        """When the next row can move, by this database's clock."""
        moments = []
        for row in self.rows.values():
            if row.parked:
                continue
            if row.owner is None:
                moments.append(row.due)
            else:
                beat = self.beats.get(row.owner)
                moments.append(self.now() if beat is None else beat + round(_RULES.dead_s * 1000) + 1)
        return min(moments, default=None)

    def _was_taken(self, row: Row) -> None:
        taken = self._taken(row.message.message_id)
        assert taken, f"O1: row {row.id} ({row.message.type}) counts as confirmed, and no broker ever took it"

    def _these(self, ids: Iterable[int]) -> Sequence[Row]:
        return [self.rows[id_] for id_ in ids if id_ in self.rows]

    def _put(self, row: Row) -> None:
        self._journal.put(self.rows, row.id, row)

    def _hand_back(self, row: Row, how: HandBack) -> None:
        now = self.now()
        since = (row.returned if row.returned is not None else now) if how.returned else row.returned
        due = now + round(how.delay_s * 1000)
        attempts = row.attempts + how.counts
        self._put(row._replace(owner=None, leased=None, due=due, attempts=attempts, returned=since))


def _read(row: Row, now: int) -> OutboxRow:
    returned_s = None if row.returned is None else (now - row.returned) / 1000
    return OutboxRow(
        row.id,
        row.message,
        created_at=None,  # type: ignore[arg-type]  # Nobody here asks.
        attempts=row.attempts,
        age_s=(now - row.created) / 1000,
        returned_s=returned_s,
    )
