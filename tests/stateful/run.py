"""One run: two engines on one database and one broker, what was asked of them, and what they answered.

What is under way is in the test's hands (`Post`), time too (`Clock`). What doors and receipts said is held against the
model (`Book`), and what is stored against what must be (`Look`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from amends.coordinator.engine.contract import Verdict
from amends.coordinator.saga.state import Status
from amends.outbox import wire
from amends.outbox.message import Message
from tests.stateful.book import Book, Wanted
from tests.stateful.clock import NOON_MS
from tests.stateful.desk import Desk, Sent
from tests.stateful.house import House, Sweeper, Tally, engines
from tests.stateful.look import Look
from tests.stateful.sagas import STARTED, input_of

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


@dataclass
class Asked:
    """Something that an engine was asked, and how its answer is to be checked. `receipt`: it comes as one."""

    saga: str
    check: Callable[[Any], None]
    answer: Future[Any] | None = None
    start: Wanted | None = None
    receipted: bool = False


class Run(RuleBasedStateMachine):
    """One run, without its rules. `house` is set by whoever makes it."""

    house: House

    def __init__(self) -> None:
        super().__init__()
        house = self.house
        house.empty()
        self.post = house.post()
        self.tally = Tally()
        self.engines = engines(house, self.post, self.tally, 2)
        self.sweeper = Sweeper(house, self.post)
        self.book = Book(active=dict.fromkeys(STARTED, 1))
        self.desk = Desk()
        self.seen = Look(house.database, house.definition)
        self.asked: list[list[Asked]] = [[], []]
        self.handed: list[list[str]] = [[], []]  # messages that each engine has for its next batch
        self.back: set[str] = set()  # those of them that it gave back
        self.written: dict[str, Wanted] = {}
        self.owed: dict[str, Message] = {}  # starts by message without a receipt yet
        self.begun: list[Wanted] = []
        self.numbers = 0
        self.acts = self.unclear_acts = 0
        self.killed = False
        self.unsure: set[str] = set()
        self.sound = True

    def obeyed(self, sent: Sent, wish: str) -> Message:
        if sent not in self.post.obeyed:
            self.post.obeyed.append(sent)
        return self.reply(self.desk.obey(sent, wish))

    def reply(self, reply: wire.Reply) -> Message:
        return self.post.write(wire.REPLY, reply, reply.saga)

    def ask(self, engine: int, asked: Asked, now: bool) -> None:
        self.asked[engine].append(asked)
        if now:
            self.decides(engine)

    def arrives(self, engine: int, message: Message) -> None:
        self.post.hand_over(message)
        self.engines[engine].receive()
        self.handed[engine].append(message.message_id)
        wanted = self.written.get(message.message_id)
        if wanted is not None:
            receipted = wire.HEADER_ROW in message.headers
            self.asked[engine].append(Asked(wanted.id, lambda _: None, start=wanted, receipted=receipted))

    def decides(self, engine: int) -> None:
        self.takes_a_turn(engine)
        self.resolve(engine)

    def takes_a_turn(self, engine: int) -> None:
        one = self.engines[engine]
        handed, self.handed[engine] = self.handed[engine], []
        mail = len(self.post.mail)
        try:
            one.decide()
        finally:
            self.post.collect()  # What it did not acknowledge has come back.
            self.back = {message.message_id for message in self.post.mail[mail:]} & set(handed)
        one.publish()
        self.post.collect()
        one.publish()

    def resolve(self, engine: int) -> None:
        """Hold what it answered against the model, in the order in which it was asked."""
        assert not self.back, f"E1: decided, and not acknowledged: {self.back}"
        asked, self.asked[engine] = self.asked[engine], []
        if asked:
            self.look_again()
        receipts, self.post.receipts = self.post.receipts, []
        for one in asked:
            if one.answer is not None and (not one.answer.done() or one.answer.exception() is not None):
                self._unsure_of(one)
            elif one.start is not None:
                self._started(one, receipts)
            else:
                assert one.answer is not None
                one.check(one.answer.result())
        assert receipts == [] or self.unsure, f"O1: receipts that nobody asked for: {receipts}"

    def _started(self, one: Asked, receipts: list[wire.Receipt]) -> None:
        assert one.start is not None
        if one.saga in self.unsure:
            receipts[:] = [receipt for receipt in receipts if not self._is_of(receipt, one.start)]
            return
        expected = self.book.start(one.start)
        if expected is Verdict.ACCEPTED:
            self.begun.append(one.start)
        if one.answer is not None:
            got = one.answer.result().verdict
            assert got is expected, f"S2: the start of {one.start} was {got}, not {expected}"
        elif one.receipted and not expected.waits:
            assert receipts, f"O1: no receipt for {one.start}, which was {expected}"
            receipt = receipts.pop(0)
            assert (receipt.message_id, receipt.note) == (one.start.message, expected.value), receipt
            self.owed.pop(receipt.message_id, None)

    def _is_of(self, receipt: wire.Receipt, wanted: Wanted) -> bool:
        if receipt.message_id == wanted.message:
            self.owed.pop(receipt.message_id, None)
        return receipt.message_id == wanted.message

    def nobody_answered(self, engine: int) -> None:
        """Nobody was answered, or not all: what is stored decides."""
        asked, self.asked[engine] = self.asked[engine], []
        for one in asked:
            self._unsure_of(one)
        self.post.receipts.clear()  # They are asked for again.

    def _unsure_of(self, one: Asked) -> None:
        self.unsure.add(one.saga)
        if one.start is None:
            self.unclear_acts += 1

    def passes(self, milliseconds: int) -> None:
        self.house.clock.move(milliseconds)
        for one in self.engines:
            one.beat()

    def stored(self, message: Message) -> Any:
        self.look_again()
        saga = message.correlation_id
        assert saga is not None
        return self.seen.sagas.get(saga), self.seen.kept.get(saga)

    def look_again(self) -> None:
        """Read what is stored, with every check of it."""
        self.seen.again(self.post.seen)

    def look(self) -> None:
        """The model and what is stored say the same."""
        self.look_again()
        book, seen = self.book, self.seen
        self._gone()
        for id_ in self.unsure:
            self._adopt(id_)
        self.unsure.clear()
        for id_, saga in seen.sagas.items():
            if saga.parent is not None and id_ not in book.rows:
                self._adopt(id_)
        waiting = {one.saga for asked in self.asked for one in asked}
        assert book.rows.keys() - waiting == seen.sagas.keys() - waiting, (
            "12: not the sagas that were accepted"
        )
        for id_, row in book.rows.items():
            saga_ = seen.sagas.get(id_)
            if saga_ is not None:
                assert saga_.name == row.name
                assert (saga_.status is Status.REJECTED) is (row.rejected is not None), (
                    f"{saga_.status}: {row}"
                )
                if row.variant is not None:
                    assert saga_.input == input_of(row.name, row.variant), f"S2: {id_} has another input"
                if not saga_.status.ended:
                    heard = seen.heard(id_)
                    assert heard == book.heard[id_], f"S1: {id_} heard {heard}, not {book.heard[id_]}"
        for id_, kept in seen.kept.items():
            assert book.kept.get(id_, set()) == kept, f"S1: kept for {id_}: {kept}"
        assert self.acts <= seen.audited <= self.acts + self.unclear_acts, (
            f"A: {seen.audited} audited of {self.acts}"
        )

    def keeps_house(self, engine: int) -> None:
        self.engines[engine].keep()
        self.look_again()
        self._gone()

    def _gone(self) -> None:
        """What was pruned is spent (S3), what came for a saga that nobody started is forgotten after a while (S1)."""
        book, seen = self.book, self.seen
        for id_ in seen.gone - book.spent:
            book.spent.add(id_)
            book.rows.pop(id_, None)
            book.heard.pop(id_, None)
            book.kept.pop(id_, None)
        for id_ in {id_ for id_, kept in book.kept.items() if kept} - seen.kept.keys() - self.unsure:
            assert self.house.clock.now_ms > NOON_MS + 7_200_000, f"S1: forgotten for {id_}"
            del book.kept[id_]

    def _adopt(self, id_: str) -> None:
        """The model learns from what is stored, where no answer told."""
        saga = self.seen.sagas.get(id_)
        self.book.kept.pop(id_, None)
        if saga is None:
            self.book.rows.pop(id_, None)
            if id_ in self.seen.kept:
                self.book.kept[id_] = set(self.seen.kept[id_])
            return
        variant = next((one for one in range(3) if input_of(saga.name, one) == saga.input), None)
        if saga.parent is not None:
            variant = None
        self.book.accepted(id_, saga.name, variant)
        self.book.heard[id_] = self.seen.heard(id_) if saga.status is not Status.REJECTED else set()
        if saga.status is Status.REJECTED:
            self.book.kept[id_] = set(self.seen.kept.get(id_, ()))
            self.book.rows[id_].rejected = "?"
            self.book.refused[id_] |= self._refused(id_)

    def _refused(self, id_: str) -> set[str]:
        with self.house.database.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT message_id FROM amends.refused_start WHERE saga_id = %(id)s::uuid", {"id": id_}
            )
            return {row[0] for row in rows}
