"""Listens for the coordinator's receipts, and deletes what they speak of (O1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine

from amends.db.crashpoints import crash_point
from amends.db.engines import transaction
from amends.db.pipelines import unflushed
from amends.outbox import wire
from amends.outbox.backoff import Backoff
from amends.outbox.dead_letters import dead_letter
from amends.outbox.errors import BrokerUnavailable, MalformedMessage
from amends.outbox.faults import DATABASE_FAULTS, told
from amends.outbox.limits import BODY_BYTES_MAX
from amends.outbox.message import Message
from amends.outbox.observer import OutboxObserver
from amends.outbox.ports import Broker, Delivery, Topology, dead_letter_queue, receipts_queue
from amends.outbox.store import OutboxStore

log = logging.getLogger(__name__)

_PREFETCH: Final = 500
_WAIT_S: Final = 0.5
_DELIVERIES_MAX: Final = 10
_ROW_MAX: Final = 2**63 - 1
_PLAIN: Final = frozenset({"", "utf-8", "utf8", "identity", "binary", "us-ascii"})


class Receipts:
    """One thread's work: `run` until told to stop. Any number of relays of one table share its receipts queue."""

    def __init__(
        self,
        database: Engine,
        broker: Broker,
        store: OutboxStore,
        *,
        prefix: str,
        service: str,
        observer: OutboxObserver,
    ) -> None:
        self._database = database
        self._store = store
        self._observer = observer
        self._prefix = prefix
        broker.declare(Topology(queues=frozenset({dead_letter_queue(prefix)})))
        self._consumer = broker.consumer([receipts_queue(prefix, service)], prefetch=_PREFETCH)
        self._stopping = threading.Event()
        self._backoff = Backoff(0.1, 5.0)
        self.broker_up = False

    def stop(self) -> None:
        """Let `run` end. From any thread."""
        self._stopping.set()
        self._consumer.wake()

    def run(self) -> None:
        """Listen until `stop`. A broker or database that is away is waited for."""
        while not self._stopping.is_set():
            try:
                self.turn(_WAIT_S)
                self._backoff.reset()
            except BrokerUnavailable as error:
                if self.broker_up:
                    log.warning("receipts_broker_lost", extra={"error": told(error)})
                self.broker_up = False
                self._stopping.wait(self._backoff.next_s())
            except DATABASE_FAULTS as error:
                # The broker takes the receipts back, and delivers them again: nothing is held meanwhile (B8).
                log.warning("receipts_database_lost", extra={"error": told(error)})
                self._consumer.close()
                self._stopping.wait(self._backoff.next_s())
            except Exception:
                log.exception("receipts_failed")
                self._consumer.close()
                self._stopping.wait(self._backoff.next_s())
        self._consumer.close()

    def turn(self, timeout_s: float) -> None:
        """Take the receipts that have arrived; waits up to `timeout_s` for the first.

        Raises: BrokerUnavailable, and what the database raises.
        """
        deliveries = self._consumer.receive(timeout_s)
        self.broker_up = True
        if deliveries:
            self._take(deliveries)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        receipts: list[wire.Receipt] = []
        dead: list[Message] = []
        for delivery in deliveries:
            try:
                receipts.append(read_receipt(delivery))
            except MalformedMessage as error:
                log.warning("receipt_dead_lettered", extra={"queue": delivery.queue, "reason": str(error)})
                dead.append(dead_letter(delivery, str(error), prefix=self._prefix))
        crash_point("relay.receipt.before")
        # One transaction: receipted rows go; what nobody can read goes to the dead letters by way of the outbox, and is
        # acknowledged only once it is safe there. A row whose delete is lost is sent, and receipted, once more.
        with transaction(self._database) if dead else unflushed(self._database) as connection:
            received = self._store.receive(connection, receipts)
            self._store.insert(connection, dead)
        crash_point("relay.receipt.after")
        self._observer.received(received)
        self._consumer.ack(delivery.tag for delivery in deliveries)


def read_receipt(delivery: Delivery) -> wire.Receipt:
    """The receipt in a message. Raises: MalformedMessage, saying why it is none."""
    if delivery.fault:
        raise MalformedMessage(delivery.fault)
    if delivery.content_encoding.lower() not in _PLAIN:
        raise MalformedMessage(f"content encoding {delivery.content_encoding[:40]!r}; send plain JSON")
    if len(delivery.body) > BODY_BYTES_MAX:
        raise MalformedMessage(f"{len(delivery.body):,} bytes, over the limit of {BODY_BYTES_MAX:,}")
    if delivery.delivery_count > _DELIVERIES_MAX:
        raise MalformedMessage(f"delivered {delivery.delivery_count} times without being dealt with")
    receipt = wire.decode(delivery.type, delivery.body)
    if not isinstance(receipt, wire.Receipt):
        raise MalformedMessage(f"a receipts queue takes {wire.RECEIPT}, not {delivery.type[:60]!r}")
    if not 0 < receipt.row <= _ROW_MAX or "\0" in receipt.message_id:
        raise MalformedMessage(f"no outbox row has the id {receipt.row}")
    return receipt
