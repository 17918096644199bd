"""The clients: a service that starts sagas and signals them, in its own transactions and over HTTP (S1 to S3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import msgspec

from amends.coordinator.engine.contract import SignalAnswer, StartAnswer, Verdict
from amends.coordinator.engine.intake import SignalItem, StartItem
from amends.coordinator.engine.signalling import signal_of
from amends.coordinator.saga.json import Json
from amends.coordinator.simulating.mishaps import Crashed, transaction
from amends.coordinator.simulating.outboxes import OutboxTable
from amends.coordinator.simulating.processes import Move, Process
from amends.coordinator.simulating.relays import Relay
from amends.coordinator.simulating.tables import Journal
from amends.db.errors import StoreUnavailable
from amends.outbox import wire
from amends.outbox.message import Message
from amends.outbox.ports import coordinator_queue, receipts_queue

if TYPE_CHECKING:
    from amends.coordinator.simulating.coordinators import CoordinatorProcess
    from amends.coordinator.simulating.town import Town

_PREFIX: Final = "amends"
_TAKEN: Final = ("accepted", "kept")


class Asked(NamedTuple):
    """A start that somebody asked for. `sound`: nothing speaks against it, so it must not be rejected."""

    name: str
    input: Json
    sound: bool
    malformed: bool


class Shop:
    """A service's database, and what its clients know.

    `asked` are starts by saga id, `promised` the sagas that they rely on, `answers` what HTTP said, `heard` the signals
    that were taken, by saga, number and name, `rejected` messages.
    """

    def __init__(self, town: Town) -> None:
        self.town = town
        self.journal = Journal()
        self.outbox = OutboxTable(lambda: town.now, self.journal, town.broker.has_taken)
        self.asked: dict[str, list[Asked]] = {}
        self.promised: set[str] = set()
        self.answers: list[tuple[str, Verdict, Json]] = []
        self.rejected: set[str] = set()
        self.heard: list[tuple[str, int, str]] = []
        self._signals = 0

    def start(
        self,
        name: str,
        key: str | None,
        value: Json,
        *,
        version: int | None,
        sound: bool,
        malformed: bool = False,
    ) -> wire.Start:
        """The request to start a saga; with a key always the same saga."""
        saga = (
            wire.saga_id_of(name, key) if key is not None else str(UUID(int=self.town.rng.getrandbits(128)))
        )
        self.asked.setdefault(saga, []).append(Asked(name, value, sound, malformed))
        labels = {} if not malformed else {"too long": "x" * 300}
        self.town.mishaps.counts["starts"] += 1
        return wire.Start(
            saga=saga,
            name=name,
            input=msgspec.Raw(msgspec.json.encode(value)),
            version=version,
            key=key,
            labels=labels,
            sent_at=self.town.now,
        )

    def put(self, start: wire.Start) -> None:
        """Start it in a transaction of this service: it stays in the outbox until the receipt."""
        if self._insert(wire.START, start, start.saga):
            self.promised.add(start.saga)

    def ask(self, coordinator: CoordinatorProcess, start: wire.Start) -> None:
        """Start it over HTTP. What is answered is relied on; without an answer nothing is known."""
        answer: Future[StartAnswer] = Future()
        value = msgspec.json.decode(start.input)

        def told(future: Future[StartAnswer]) -> None:
            if future.exception() is None:
                verdict = future.result().verdict
                self.answers.append((start.saga, verdict, value))
                self.town.say("client", lambda: f"is answered: {start.saga[:8]} {verdict.value}")
                if verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT):
                    self.promised.add(start.saga)

        answer.add_done_callback(told)
        number = str(UUID(int=self.town.rng.getrandbits(128)))
        coordinator.submit(StartItem(saga_id=start.saga, start=start, answer=answer, message_id=number))

    def put_signal(self, saga: str, name: str, *, number: int | None = None) -> None:
        """Signal a saga in a transaction of this service."""
        number = number or self._next_signal()
        body = wire.Signal(saga=saga, name=name, payload=_payload(name, number), id=f"m{number}")
        self._insert(wire.SIGNAL, body, saga)

    def receipted(self, receipts: Iterable[wire.Receipt]) -> None:
        """The coordinators told what became of these rows."""
        for receipt in receipts:
            row = self.outbox.rows.get(receipt.row)
            if row is None or row.message.message_id != receipt.message_id:
                continue
            if row.message.type == wire.START:
                self._start_receipted(row.message, receipt.note)
            if row.message.type == wire.SIGNAL and receipt.note in _TAKEN:
                signal = wire.decode(wire.SIGNAL, row.message.body)
                assert isinstance(signal, wire.Signal)
                self.heard.append((signal.saga, int(signal.id[1:]), signal.name))

    def ask_signal(
        self, coordinator: CoordinatorProcess, saga: str, name: str, *, number: int | None = None
    ) -> None:
        """Signal a saga over HTTP."""
        number = number or self._next_signal()
        event = signal_of(name, f"m{number}", bytes(_payload(name, number)))
        answer: Future[SignalAnswer] = Future()

        def told(future: Future[SignalAnswer]) -> None:
            if future.exception() is None and future.result().verdict.value in _TAKEN:
                self.heard.append((saga, number, name))

        answer.add_done_callback(told)
        coordinator.submit(SignalItem(saga_id=saga, event=event, answer=answer, message_id=f"m{number}"))

    def _start_receipted(self, message: Message, note: str) -> None:
        start = wire.decode(wire.START, message.body)
        assert isinstance(start, wire.Start)
        if note in (Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT):
            stands = start.saga in self.town.auditor.lives
            assert stands, f"O1: start {start.saga} was receipted ({note}) before its commit"
        elif note == Verdict.REJECTED:
            self.rejected.add(message.message_id)
            waited = self.town.now - start.sent_at
            unknown = start.version == self.town.newer_version and not start.labels
            waits = unknown and waited < 3_600_000 and not self.town.auditor.clock_jumped
            assert not waits, f"S2: start {start.saga} of an unknown version was rejected after {waited} ms"

    @property
    def signals(self) -> int:
        """How many signals were made so far."""
        return self._signals

    def _next_signal(self) -> int:
        self._signals += 1
        return self._signals

    def _insert(self, type_: str, body: Any, saga: str) -> bool:
        message = Message(
            routing_key=coordinator_queue(_PREFIX),
            type=type_,
            body=wire.encode(body),
            correlation_id=saga,
            needs_receipt=True,
        )
        before = len(self.outbox.rows)
        try:
            with transaction(self.journal, self.town.mishaps):
                self.outbox.insert([message], None)
        except (StoreUnavailable, Crashed):
            pass  # Whoever asked does not know; the outbox does.
        return len(self.outbox.rows) > before


def _payload(name: str, number: int) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"signal": f"{name}:{number}", "x": 1}))


class ServiceProcess(Process):
    """The service's relay."""

    def __init__(self, town: Town, name: str) -> None:
        super().__init__(town, name)
        shop = town.shop
        receipts = receipts_queue(_PREFIX, "shop")
        self.relay = Relay(
            town.broker,
            shop.outbox,
            shop.journal,
            town.mishaps,
            receipts=receipts,
            on_receipts=shop.receipted,
        )

    def die(self) -> None:
        self.relay.close()

    def moves(self) -> Iterator[Move]:
        yield from self.relay.moves(self.town.rng)
