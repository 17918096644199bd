"""`end`: a saga is over, and lets go its locks (L4); and the queue of those who wait for one (L3)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amends.outbox.receipting import receipt_of
from amends.outbox.wire import Outcome
from amends.participants.barrier.answers import Answer
from amends.participants.barrier.barrier import key_of
from amends.participants.errors import LockWanted
from amends.participants.locks.store import LockStore
from amends.participants.locks.taking import LEASE_MS, Place
from amends.participants.worker.inbound import Inbound
from amends.participants.worker.transactions import OpensTransactions

if TYPE_CHECKING:
    from amends.participants.worker.execution import Sends

log = logging.getLogger(__name__)


class Ends:
    """What is written about locks outside of handlers' transactions. Thread-safe."""

    def __init__(self, transactions: OpensTransactions, sender: Sends, locks: LockStore) -> None:
        self._transactions = transactions
        self._sender = sender
        self._locks = locks

    def obey(self, inbound: Inbound) -> None:
        """Let go all that the saga holds here, then receipt it: it is sent until the receipt is there (O1).

        It may come twice, and where nothing is held; each one is receipted. Raises: StoreUnavailable, CommitUnknown.
        """
        with self._transactions.begin() as unit:
            rows = self._locks.let_go(unit.connection, key_of(inbound.command).saga)
        log.debug("locks_let_go", extra={"rows": rows})
        receipt = receipt_of(inbound.delivery, "let_go")
        if receipt is not None:
            self._sender.send([receipt])

    def expired(self, inbound: Inbound) -> Answer:
        """What is too old to tell of (B6) may have left a lock. Raises: StoreUnavailable."""
        with self._transactions.begin() as unit:
            holds = self._locks.holds(unit.connection, key_of(inbound.command).saga)
        return Answer(outcome=Outcome.EXPIRED, reason="older than what the barrier remembers", holds=holds)

    def queue_up(self, wanted: LockWanted) -> None:
        """Its handler is rolled back; that it waits is written by itself. Raises: StoreUnavailable, CommitUnknown."""
        place = wanted.place
        assert isinstance(place, Place), "whoever raises it says for what"
        with self._transactions.begin() as unit:
            self._locks.wait(
                unit.connection, place.name, place.who, place.saga_name, place.path, lease_ms=LEASE_MS
            )
