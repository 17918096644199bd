"""Participants: a database with barrier rows, effects and an outbox, and the workers that obey commands (B1 to B6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from amends.coordinator.checking import barrier
from amends.coordinator.checking.barrier import Row
from amends.coordinator.saga.effects import Send
from amends.coordinator.saga.events import Outcome, Replied
from amends.coordinator.saga.json import Json
from amends.coordinator.saga.state import Op
from amends.coordinator.simulating.broker import Consumer
from amends.coordinator.simulating.mishaps import transaction
from amends.coordinator.simulating.outboxes import OutboxTable
from amends.coordinator.simulating.processes import Move, Process
from amends.coordinator.simulating.relays import Relay
from amends.coordinator.simulating.sender import Sender
from amends.coordinator.simulating.tables import Journal
from amends.db.errors import CommitUnknown, StoreUnavailable
from amends.outbox import wire
from amends.outbox.message import Message, OutboxRow
from amends.outbox.ports import Delivery, command_queue

if TYPE_CHECKING:
    from amends.coordinator.simulating.town import Town

PREFIX: Final = "amends"
RETENTION_MS: Final = 3 * 86_400_000
_DAY_MS: Final = 86_400_000
_LEASE_MS: Final = 60_000
_INBOX_MAX: Final = 5
_CALLS_TAKE_MS: Final = (0, 0, 10_000, 70_000, 300_000)

Key = tuple[str, str]  # saga, path


class Habits(NamedTuple):
    """How the handlers of one step behave. `external`: the effect is outside of the participant's database (B5)."""

    external: bool
    refuses_do: float
    refuses_undo: bool
    refuses_confirm: bool
    breaks_off: float
    result: Json


class Participant:
    """One participant's database, and what its handlers did to the world.

    `locks` are those of sagas. `effects` tells, per saga, what happened and where, in that order; `outside` are the
    effects that no rollback takes back, and `voided` the keys that were voided there.
    """

    def __init__(self, town: Town, name: str) -> None:
        self.name = name
        self.town = town
        self.journal = Journal()
        self.rows: dict[Key, Row] = {}
        self.started: dict[Key, int] = {}
        self.effects: dict[str, tuple[tuple[str, str], ...]] = {}
        self.locks: dict[str, str] = {}  # by saga, the step that took one (L1)
        self.outbox = OutboxTable(lambda: town.now, self.journal, town.broker.has_taken)
        self._habits: dict[Key, Habits] = {}
        self._happened: set[Key] = set()
        self._voided: set[Key] = set()

    def habits(self, key: Key) -> Habits:
        """How this step's handlers behave; drawn when it is first asked."""
        if key not in self._habits:
            rng = self.town.rng
            external = rng.random() < 0.4
            self._habits[key] = Habits(
                external,
                rng.choice([0.0, 0.1, 0.4, 0.4] if external else [0.0, 0.0, 0.0, 0.1, 0.4]),
                rng.random() < 0.15,
                rng.random() < 0.15,
                rng.choice([0.2, 0.7]) if external else 0.0,
                {} if rng.random() < 0.1 else {"x": 1},
            )
        return self._habits[key]

    def happens(self, what: str, key: Key) -> None:
        """An effect in this database: with the transaction under way."""
        done = (*self.effects.get(key[0], ()), (what, key[1]))
        self.journal.put(self.effects, key[0], done)

    def happens_outside(self, key: Key) -> bool:
        """An external call takes effect, once by its key; False if the key was voided."""
        if key in self._voided:
            return False
        if key not in self._happened:
            self._happened.add(key)
            self.effects[key[0]] = (*self.effects.get(key[0], ()), ("do", key[1]))
        return True

    def voids_outside(self, key: Key) -> None:
        """An undo of an external call: what happened is taken back, and later calls by the key are refused."""
        if key in self._happened and key not in self._voided:
            self.effects[key[0]] = (*self.effects.get(key[0], ()), ("undo", key[1]))
        self._voided.add(key)

    def may_lock(self, key: Key) -> bool:
        """Whether this step's handler takes a lock: about every second, and none that only reads."""
        life = self.town.auditor.lives.get(key[0])
        name = key[1].partition("/")[0]
        return (
            life is not None
            and sum(name.encode()) % 2 == 0
            and not life.definition.plan.by_name[name].step.reads
        )

    def prune(self) -> None:
        """Rows past their retention go, but for calls (B6)."""
        before = self.town.now - RETENTION_MS
        for key in [key for key, at in self.started.items() if at < before]:
            if self.rows[key].do != "calling":
                self.journal.drop(self.rows, key)
                self.journal.drop(self.started, key)
        self.journal.keep()


class Call(NamedTuple):
    """An external call under way in a worker's memory."""

    delivery: Delivery
    send: Send
    key: Key
    number: int
    certain: bool
    ends: int


class WorkerProcess(Process):
    """One worker of a participant, with a relay beside it."""

    def __init__(self, town: Town, name: str, participant: Participant) -> None:
        super().__init__(town, name)
        self._participant = participant
        self._mishaps = town.mishaps
        queues = [command_queue(PREFIX, participant.name, undo=undo) for undo in (False, True)]
        self._consumer = Consumer(town.broker, queues, prefetch=10)
        outbox, journal = participant.outbox, participant.journal
        self.sender = Sender(town.broker, outbox, journal, town.mishaps, names=town.next_name)
        self.relay = Relay(town.broker, outbox, journal, town.mishaps, receipts=None)
        self._inbox: list[Delivery] = []
        self._call: Call | None = None

    def die(self) -> None:
        self._consumer.close()

    def moves(self) -> Iterator[Move]:
        yield from self.sender.moves(self.town.rng)
        yield from self.relay.moves(self.town.rng)
        if self._call is not None:
            if self._mishaps.calm or self.town.now >= self._call.ends:
                yield 4.0, self._finish_call
        elif self._inbox:
            yield 8.0, self._obey
        if self._consumer.has_some and len(self._inbox) < _INBOX_MAX:
            yield 6.0, self._fetch

    def _fetch(self) -> None:
        self._inbox += self._consumer.receive(self.town.rng, self.town.rng.randint(1, 3))

    def _obey(self) -> None:
        delivery = self._inbox.pop(0)
        command = wire.decode(wire.COMMAND, delivery.body)
        assert isinstance(command, wire.Command)
        if command.op is wire.Op.END:
            self._let_go(delivery, command.saga)
            return
        send = _send(command, self._participant.name)
        key = (command.saga, command.path)
        self.town.say(self.name, lambda: f"obeys {_asked(send, key)}")
        self._one(delivery, send, key, command.started_at)

    def _one(self, delivery: Delivery, send: Send, key: Key, started: int) -> None:
        """Obey one command: barrier row, effect and reply are one transaction."""
        if self._mishaps.strikes("participant fails", 0.1):
            spent = self.town.rng.random() < 0.5
            self._tell(delivery, key, barrier.answer(send, Outcome.FAILED, spent=spent))
            return
        participant, now = self._participant, self.town.now
        if key not in participant.rows and started < now - RETENTION_MS + _DAY_MS:
            self._mishaps.counts["expired"] += 1
            self._tell(delivery, key, self._holding(barrier.answer(send, Outcome.EXPIRED), key))
            return
        row = participant.rows.get(key, Row())
        stood = barrier.stands(row, send, now)
        habits = participant.habits(key)
        if stood is not None:
            after, reply = stood
            reply = self._holding(reply, key)
            if after == row:
                self._tell(delivery, key, reply)
            else:
                self._store(delivery, key, after, reply)
        elif send.op is Op.DO and habits.external:
            self._announce(delivery, send, key, row)
        else:
            self._handle(delivery, send, key, row, habits)

    def _handle(self, delivery: Delivery, send: Send, key: Key, row: Row, habits: Habits) -> None:
        rng, calm = self.town.rng, self._mishaps.calm
        match send.op:
            case Op.DO:
                refuse = rng.random() < habits.refuses_do
            case Op.UNDO:
                refuse = habits.refuses_undo and not calm
            case _:
                refuse = habits.refuses_confirm and not calm
        after, reply = barrier.ran(row, send, refuse=refuse, result=habits.result, now=self.town.now)
        if after == row:
            self._tell(delivery, key, self._holding(reply, key))
        else:
            what = "" if refuse else send.op.value
            self._store(delivery, key, after, reply, what=what, external=habits.external)

    def _store(
        self,
        delivery: Delivery,
        key: Key,
        row: Row,
        reply: Replied,
        *,
        what: str = "",
        external: bool = False,
    ) -> None:
        """One transaction: the barrier's rows, the effect, the reply, and the rows that the broker has go."""
        participant, sender = self._participant, self.sender
        locks = what == "do" and not external and participant.may_lock(key)
        reply = replace(reply, holds=True) if locks else self._holding(reply, key)
        message = _reply(delivery, key[0], self._participant.name, reply)
        confirmed = sender.take_confirmed()
        if what == "undo" and external:
            participant.voids_outside(key)  # It is made to the other side, by key: again does no harm.
        try:
            with transaction(participant.journal, self._mishaps):
                owner = sender.owner
                participant.journal.put(participant.rows, key, row)
                participant.journal.put(participant.started, key, self.town.now)
                if what and not (what == "undo" and external):
                    participant.happens(what, key)
                if locks:
                    participant.journal.put(participant.locks, key[0], key[1])
                (id_,) = participant.outbox.insert([message], owner)
                participant.outbox.delete(confirmed)
        except StoreUnavailable as error:
            self._failed(delivery, confirmed, error)
            return
        if what:
            self.town.auditor.took_effect(*key)
        sender.deleted(confirmed)
        sender.offer([OutboxRow(id_, message, created_at=None)])  # type: ignore[arg-type]
        self._mishaps.crash_point("before an acknowledgement")
        self._consumer.ack([delivery.tag])

    def _holding(self, reply: Replied, key: Key) -> Replied:
        """This reply, telling of the saga's locks if it is about a row that stands, or about one that is gone (L1)."""
        told = key in self._participant.rows or reply.outcome is Outcome.EXPIRED
        return replace(reply, holds=True) if told and key[0] in self._participant.locks else reply

    def _let_go(self, delivery: Delivery, saga: str) -> None:
        """The saga is over: its locks go, and the coordinator hears of that (L4)."""
        life = self.town.auditor.lives.get(saga)
        assert life is not None, f"L4: an end of {saga}, which never began"
        assert life.saga.status.ended, f"L4: {saga} has not ended, and its locks go"
        participant = self._participant
        try:
            with transaction(participant.journal, self._mishaps):
                participant.journal.drop(participant.locks, saga)
        except StoreUnavailable as error:
            self._failed(delivery, [], error)
            return
        self._mishaps.counts["end"] += 1
        row, queue = (str(delivery.headers[name]) for name in (wire.HEADER_ROW, wire.HEADER_RECEIPT_TO))
        body = wire.encode(wire.Receipt(message_id=delivery.message_id, row=int(row), note="let_go"))
        self.sender.send([Message(routing_key=queue, type=wire.RECEIPT, body=body)])
        self._mishaps.crash_point("before an acknowledgement")
        self._consumer.ack([delivery.tag])

    def _failed(self, delivery: Delivery, confirmed: list[int], error: StoreUnavailable) -> None:
        """Nothing may be acknowledged: the message goes back, and the barrier decides when it comes again (O3)."""
        assert not self._consumer.has_acked(delivery.tag), "O3: a command was acknowledged before its commit"
        self.sender.give_back(confirmed)
        if isinstance(error, CommitUnknown):
            self.sender.renew_owner()
        self._consumer.requeue([delivery.tag])

    def _tell(self, delivery: Delivery, key: Key, reply: Replied) -> None:
        """An answer that wrote nothing: it has no row, and may be lost."""
        self.sender.send([_reply(delivery, key[0], self._participant.name, reply)])
        self._consumer.ack([delivery.tag])

    # External calls (B5)

    def _announce(self, delivery: Delivery, send: Send, key: Key, row: Row) -> None:
        participant = self._participant
        number = self.town.next_name()
        certain = barrier.is_first(row)
        try:
            with transaction(participant.journal, self._mishaps):
                announced = barrier.intend(row, send, call=number, until=self.town.now + _LEASE_MS)
                participant.journal.put(participant.rows, key, announced)
                participant.journal.put(participant.started, key, self.town.now)
        except StoreUnavailable as error:
            self._failed(delivery, [], error)
            return
        ends = self.town.now + self.town.rng.choice(_CALLS_TAKE_MS)
        self._call = Call(delivery, send, key, number, certain, ends)

    def _finish_call(self) -> None:
        """The call is made; only then its outcome is stored, over one's own announcement."""
        call, self._call = self._call, None
        assert call is not None
        participant, rng = self._participant, self.town.rng
        habits = participant.habits(call.key)
        if not self._mishaps.calm and rng.random() < habits.breaks_off:
            if rng.random() < 0.5:
                participant.happens_outside(call.key)
            self._mishaps.counts["external call broke off"] += 1
            self._given_up(call)
            return
        declines = rng.random() < habits.refuses_do  # Whether or not a call before it happened.
        refuse = declines or not participant.happens_outside(call.key)
        row = participant.rows.get(call.key, Row())
        concluded = barrier.conclude(
            row, call.send, call=call.number, refuse=refuse, certain=call.certain, result=habits.result
        )
        own = row.do == "calling" and row.call == call.number
        assert own or concluded is None, f"B5: {call.key} is concluded over another's announcement"
        if concluded is None:
            stood = barrier.stands(row, call.send, self.town.now)
            reply = stood[1] if stood is not None else barrier.answer(call.send, Outcome.FAILED, spent=False)
            self._tell(call.delivery, call.key, reply)
        else:
            self._store(call.delivery, call.key, *concluded)

    def _given_up(self, call: Call) -> None:
        participant = self._participant
        row = participant.rows.get(call.key, Row())
        try:
            with transaction(participant.journal, self._mishaps):
                participant.journal.put(participant.rows, call.key, barrier.give_up(row, call=call.number))
        except StoreUnavailable:
            pass  # Its lease runs out.
        self._tell(call.delivery, call.key, barrier.answer(call.send, Outcome.FAILED))


def _send(command: wire.Command, participant: str) -> Send:
    return Send(
        path=command.path,
        participant=participant,
        op=Op(command.op.value),
        command=command.command,
        round=command.round,
        attempt=command.attempt,
        args=None,
        timeout=0,
        closes=Op(command.closes.value) if command.closes is not None else None,
    )


def _reply(delivery: Delivery, saga: str, participant: str, reply: Replied) -> Message:
    after_ms = reply.retry_after
    body = wire.Reply(
        saga=saga,
        path=reply.path,
        op=wire.Op(reply.op.value),
        round=reply.round,
        attempt=reply.attempt,
        outcome=wire.Outcome(reply.outcome.value),
        participant=participant,
        result=msgspec.Raw(msgspec.json.encode(reply.result)),
        reason=reply.reason,
        certain=reply.certain,
        spent=reply.spent,
        retry_after_s=None if after_ms is None else after_ms / 1000,
        ran_in_round=reply.ran_in_round,
        in_doubt=reply.in_doubt,
        closes=wire.Op(reply.closes.value) if reply.closes is not None else None,
        holds=reply.holds,
    )
    return Message(routing_key=delivery.reply_to, type=wire.REPLY, body=wire.encode(body))


def _asked(send: Send, key: Key) -> str:
    closes = f" of {send.closes.value}" if send.closes is not None else ""
    return f"{send.op.value}{closes} {key[1]} of {key[0][:8]} (round {send.round}, attempt {send.attempt})"
