"""`ctx.lock`: held until `end`, in turn, on PostgreSQL and on SQLite, with real workers and messages (rules L)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, select, text, update

from amends.db.engines import transaction
from amends.db.tables.participant import lock as table
from amends.outbox import wire
from amends.outbox.broker import open_broker
from amends.outbox.message import Message
from amends.outbox.ports import Topology, command_queue, receipts_queue
from amends.outbox.wire import Command, Op, Outcome, Reply
from amends.participants import Ctx, Failed, Participant, Refused
from amends.participants.locks.store import LockStore
from amends.participants.metrics import ParticipantMetrics
from tests.outbox.driving import received
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.participants.shop import count, record

Handle = Callable[[str, Ctx], None]


class Service:
    """A participant whose handler `work` locks what its command names, on a broker in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = f"name-{uuid4().hex[:8]}"
        self.store = LockStore(engine.dialect.name)
        self.after: Handle = lambda _cmd, _ctx: None
        shop = Participant("shop")

        @shop.command
        def work(cmd: str, ctx: Ctx) -> None:
            ctx.lock(f"{self.name}:{cmd.strip('?')}", wait=not cmd.endswith("?"))
            ctx.lock(f"{self.name}:{cmd.strip('?')}")
            record(ctx.connection, "worked", ctx.saga)
            self.after(cmd, ctx)

        @work.undo
        def unwork(cmd: str, ctx: Ctx) -> None:
            ctx.lock(f"{self.name}:{cmd.strip('?').removeprefix('other ')}")

        @shop.command
        def plain(cmd: str, ctx: Ctx) -> None: ...

        @shop.command(external=True)
        def call(cmd: str, ctx: Ctx) -> None:
            ctx.lock("anything")

        self.broker = open_broker(f"memory://{uuid4().hex}")
        self.coordinator = FakeCoordinator(self.broker, "p", "shop")
        self.receipts = receipts_queue("p", "_coordinator")
        self.broker.declare(Topology(frozenset({self.receipts})))
        self.worker = shop.worker(
            database=engine,
            broker=self.broker,
            prefix="p",
            relay=False,
            batch=4,
            metrics=ParticipantMetrics(CollectorRegistry()),
        )
        self.worker.start()

    def ask(self, saga: str, name: str = "a", *, age_ms: int = 0, path: str = "work", **fields: Any) -> Reply:
        """`work` of this saga, which is so much older than now, on this lock."""
        return self.coordinator.ask(self.work(saga, name, age_ms=age_ms, path=path, **fields))

    def work(self, saga: str, name: str, *, age_ms: int = 0, path: str = "work", **fields: Any) -> Command:
        started = 1_000 * (int(time.time()) // 3600 * 3600) - age_ms
        return command("work", name, saga=saga, path=path, started_at=started, **fields)

    def end(self, saga: str, row: int = 7) -> None:
        """The saga is over; until that is receipted."""
        body = command("", op=Op.END, saga=saga)
        message = Message(
            routing_key=command_queue("p", "shop", undo=True),
            type=wire.COMMAND,
            body=wire.encode(again(body, path="")),
            headers={wire.HEADER_ROW: str(row), wire.HEADER_RECEIPT_TO: self.receipts},
        )
        self.coordinator.publish(message)
        consumer = self.broker.consumer([self.receipts], prefetch=10)
        (delivery,) = received(consumer, 1)
        consumer.ack([delivery.tag])
        consumer.close()
        receipt = wire.decode(delivery.type, delivery.body)
        assert isinstance(receipt, wire.Receipt)
        assert (receipt.row, receipt.note) == (row, "let_go")

    def holder(self, name: str = "a") -> str | None:
        """The saga that has this lock."""
        asked = select(table.c.saga_id).where(table.c.name == f"{self.name}:{name}", table.c.slot == "")
        with self.engine.connect() as connection:
            found = connection.execute(asked).scalar()
        return None if found is None else str(found)

    def lapse(self, saga: str) -> None:
        """Its place in the queue is good no more."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(table)
                .where(table.c.saga_id == UUID(saga), table.c.slot != "")
                .values(waits_until_ms=1)
            )


@pytest.fixture
def service(database: Engine) -> Iterator[Service]:
    made = Service(database)
    yield made
    made.worker.stop()
    made.coordinator.close()


def sagas(number: int) -> list[str]:
    return [str(uuid4()) for _ in range(number)]


def test_a_lock_is_held_until_the_end_and_the_same_saga_has_it_at_once(service: Service) -> None:
    """Guard: the holder's row stays at commit; the reply says `holds`, and so does each that is sent again."""
    one, other = sagas(2)

    first = service.ask(one)
    again_ = service.ask(one, attempt=2)
    further = service.ask(one, path="further")
    refused = service.ask(other)

    assert [(reply.outcome, reply.holds) for reply in (first, again_, further)] == [(Outcome.DONE, True)] * 3
    assert (refused.outcome, refused.spent, refused.holds) == (Outcome.FAILED, False, False)
    assert refused.retry_after_s
    assert f"held by saga {one} (test-saga)" in refused.reason
    assert count(service.engine, "worked", other) == 0
    service.end(one)
    assert service.ask(other, attempt=2).outcome is Outcome.DONE
    assert service.holder() == other


def test_those_that_wait_have_it_in_the_order_in_which_they_came(service: Service) -> None:
    """Guard: `ahead`; without it whoever asks first after the end has it."""
    first, second, third, late = sagas(4)
    service.ask(first)
    for saga in (second, third):
        service.ask(saga)
    service.end(first)

    turned = [service.ask(saga, attempt=2).outcome for saga in (late, third)]
    got = service.ask(second, attempt=3)

    assert turned == [Outcome.FAILED] * 2
    assert got.outcome is Outcome.DONE
    service.end(second)
    assert service.ask(late, attempt=3).outcome is Outcome.FAILED
    assert service.ask(third, attempt=3).outcome is Outcome.DONE


def test_who_waits_and_does_not_come_back_holds_up_nobody_and_keeps_its_age(service: Service) -> None:
    """Guard: the lease of a place; without it a saga that was given up would block the lock for ever."""
    first, dead, third = sagas(3)
    for saga in (first, dead, third):
        service.ask(saga)
    service.end(first)
    service.lapse(dead)

    assert service.ask(third, attempt=2).outcome is Outcome.DONE
    assert service.ask(dead, attempt=2).outcome is Outcome.FAILED
    late = sagas(1)[0]
    service.ask(late)
    service.end(third)
    assert service.ask(late, attempt=2).outcome is Outcome.FAILED
    assert service.ask(dead, attempt=3).outcome is Outcome.DONE


def test_one_that_was_not_to_wait_is_refused_and_does_not_queue(service: Service) -> None:
    one, other, third = sagas(3)
    service.ask(one)

    refused = service.ask(other, "a?")

    assert (refused.outcome, refused.certain) == (Outcome.REFUSED, True)
    assert "is held by saga" in refused.reason
    service.end(one)
    assert service.ask(third).outcome is Outcome.DONE


@pytest.mark.parametrize("known_by", ["the command", "this database"])
def test_a_younger_saga_that_holds_locks_gives_way_and_an_older_one_waits(
    service: Service, known_by: str
) -> None:
    """L2. Two that want each other's lock: the younger is refused, lets go what it has, and the older goes on."""
    older, younger = sagas(2)
    told = {"holds": True} if known_by == "the command" else {}
    service.ask(older, "a", age_ms=5_000)
    service.ask(younger, "b")

    waits = service.ask(older, "b", age_ms=5_000, path="second", **told)
    gives_way = service.ask(younger, "a", path="second", **told)

    assert waits.outcome is Outcome.FAILED
    assert gives_way.outcome is Outcome.REFUSED
    assert f"held by saga {older} (test-saga), which is older" in gives_way.reason
    service.end(younger)
    assert service.ask(older, "b", age_ms=5_000, path="second", attempt=2, **told).outcome is Outcome.DONE


def test_a_saga_that_cannot_turn_back_waits_whatever_it_holds(service: Service) -> None:
    """L2: refused, it would be stuck. Guard: `settled` in `_decided`, beside what this database knows of its locks."""
    older, settled = sagas(2)
    service.ask(older, "a", age_ms=5_000)
    service.ask(settled, "b")

    waits = service.ask(settled, "a", path="second", settled=True)

    assert waits.outcome is Outcome.FAILED
    service.end(older)
    assert service.ask(settled, "a", path="second", attempt=2, settled=True).outcome is Outcome.DONE


def test_a_call_takes_no_lock_since_nobody_would_tell_of_its_end(service: Service) -> None:
    call = str(uuid4())

    answer = service.ask(call, path="call/work")

    assert answer.outcome is Outcome.FAILED
    assert service.holder() is None


def test_a_handler_that_refuses_or_fails_has_taken_no_lock(service: Service) -> None:
    for error, outcome in ((Refused("no"), Outcome.REFUSED), (Failed("down"), Outcome.FAILED)):

        def raising(_cmd: str, _ctx: Ctx, error: Exception = error) -> None:
            raise error

        service.after = raising
        reply = service.ask(str(uuid4()))

        assert (reply.outcome, reply.holds) == (outcome, False)
        assert service.holder() is None


def test_an_undo_tells_of_the_locks_and_leaves_them_to_the_end(service: Service) -> None:
    """L1: the saga may have missed the do's reply. Released is at the saga's end, not at the step's undo."""
    saga = str(uuid4())
    sent = service.work(saga, "a")
    service.coordinator.ask(sent)

    undone = service.coordinator.ask(again(sent, op=Op.UNDO, command="unwork"))
    repeated = service.coordinator.ask(again(sent, op=Op.UNDO, command="unwork", attempt=2))
    fenced = service.coordinator.ask(again(sent, op=Op.FENCE, closes=Op.DO, attempt=3))

    assert [(one.outcome, one.holds) for one in (undone, repeated, fenced)] == [(Outcome.DONE, True)] * 3
    assert service.holder() == saga
    service.end(saga)
    assert service.holder() is None


def test_an_undo_takes_no_new_lock_and_an_external_handler_none_at_all(service: Service) -> None:
    saga = str(uuid4())
    sent = service.work(saga, "other b")
    service.coordinator.ask(sent)

    undone = service.coordinator.ask(again(sent, op=Op.UNDO, command="unwork"))
    called = service.coordinator.ask(command("call", "x"))

    assert (undone.outcome, undone.spent) == (Outcome.FAILED, True)
    assert "only a command takes a lock" in undone.reason
    assert (called.outcome, called.spent) == (Outcome.FAILED, True)
    assert "an external handler has no transaction" in called.reason


def test_an_end_is_receipted_each_time_also_where_nothing_is_held(service: Service) -> None:
    saga = str(uuid4())

    service.end(saga)
    service.ask(saga)
    service.end(saga, row=8)
    service.end(saga, row=9)

    assert service.holder() is None


def test_commands_of_a_batch_tell_each_of_its_own_locks(service: Service) -> None:
    """B7: some in one transaction; whoever locked nothing says nothing."""
    locking, plain = sagas(2)
    for one in (service.work(locking, "a"), command("plain", "x", saga=plain)):
        service.coordinator.send(one)

    replies = {
        reply.saga: reply for reply in (service.coordinator.await_reply(lambda _: True) for _ in range(2))
    }

    assert {reply.outcome for reply in replies.values()} == {Outcome.DONE}
    assert (replies[locking].holds, replies[plain].holds) == (True, False)


def test_many_at_once_have_it_one_after_another(service: Service) -> None:
    """Guard: the key of the holder's row: of two that find it free one is told so."""
    wanting = sagas(12)
    held: list[str] = []
    for saga in wanting:
        service.coordinator.send(service.work(saga, "a"))
    while len(held) < len(wanting):
        replies = [service.coordinator.await_reply(lambda _: True) for _ in range(len(wanting) - len(held))]
        done = [reply.saga for reply in replies if reply.outcome is Outcome.DONE]
        assert len(done) <= 1
        for saga in done:
            assert service.holder() == saga
            service.end(saga)
            held.append(saga)
        for reply in replies:
            if reply.saga not in done:
                service.coordinator.send(service.work(reply.saga, "a", attempt=reply.attempt + 1))

    assert sorted(held) == sorted(wanting)


def test_places_that_lapsed_long_ago_are_swept(service: Service) -> None:
    one, other = sagas(2)
    service.ask(one)
    service.ask(other)
    service.lapse(other)

    with transaction(service.engine) as connection:
        swept = service.store.sweep(connection)
        rows = connection.execute(
            text("SELECT slot FROM amends_lock WHERE name LIKE :name"), {"name": f"{service.name}%"}
        )
        left = rows.scalars().all()

    assert swept >= 1
    assert left == [""]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b"])
def test_a_name_that_cannot_be_kept_is_told(service: Service, name: str) -> None:
    service.name = ""
    service.after = lambda _cmd, ctx: ctx.lock(name)

    reply = service.ask(str(uuid4()))

    assert reply.outcome is Outcome.FAILED
    assert "a lock's name has 1 to 200 characters" in reply.reason
