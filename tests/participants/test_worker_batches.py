"""Several new commands in one transaction (B7), on PostgreSQL and on SQLite, with real messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, text

from amends.db.tables.participant import barrier
from amends.outbox.broker import open_broker
from amends.outbox.wire import Command, Outcome, Reply
from amends.participants import Ctx, Participant, Refused
from amends.participants.metrics import ParticipantMetrics
from tests.participants.coordinator import FakeCoordinator, again, command
from tests.participants.shop import count, record

BATCH = 8


Together = Callable[["Service", list[str], list[Ctx]], list[str]]


class Service:
    """A participant that takes batches, on a broker in this process."""

    def __init__(self, engine: Engine, together: Together | None = None, **settings: Any) -> None:
        self.engine = engine
        self.runs: Counter[str] = Counter()
        self.transactions: list[int] = []
        participant = Participant("one")
        handler = participant.command(name="work")(self._work)
        if together is not None:
            handler.together(lambda cmds, ctxs: together(self, cmds, ctxs))
        broker = open_broker(f"memory://{uuid4().hex}")
        self.coordinator = FakeCoordinator(broker, "p", "one")
        given = {"threads": 1, "batch": BATCH, "time_limit_s": 30, "relay": False, **settings}
        self.worker = participant.worker(
            database=engine,
            broker=broker,
            prefix="p",
            metrics=ParticipantMetrics(CollectorRegistry()),
            **given,
        )

    def _work(self, cmd: str, ctx: Ctx) -> str:
        self.runs[ctx.saga] += 1
        record(ctx.connection, "batched", ctx.saga)
        if self.engine.dialect.name == "postgresql":
            self.transactions.append(ctx.connection.execute(text("SELECT txid_current()")).scalar_one())
        match cmd:
            case "refuse":
                raise Refused("no")
            case "fail":
                raise ConnectionError("down")
            case "commit":
                ctx.connection.commit()
        return cmd

    def answered(self, commands: list[Command]) -> dict[str, Reply]:
        """Send these, start the worker, and collect a reply to each, by saga and attempt."""
        for one in commands:
            self.coordinator.send(one)
        self.worker.start()
        replies = [self.coordinator.await_reply(lambda reply: True) for _ in commands]
        return {f"{reply.saga} {reply.attempt}": reply for reply in replies}


@pytest.fixture
def service(database: Engine) -> Iterator[Service]:
    made = Service(database)
    yield made
    made.worker.stop()
    made.coordinator.close()


def test_new_commands_share_a_transaction_and_each_is_done_once(service: Service) -> None:
    sent = [command("work", f"{number}") for number in range(BATCH)]

    replies = service.answered(sent)

    assert [bytes(replies[f"{one.saga} 1"].result) for one in sent] == [b'"%d"' % n for n in range(BATCH)]
    assert [count(service.engine, "batched", one.saga) for one in sent] == [1] * BATCH
    assert set(service.runs.values()) == {1}
    if service.engine.dialect.name == "postgresql":
        assert len(set(service.transactions)) == 1


@pytest.mark.parametrize(
    ("odd", "outcome"),
    [("refuse", Outcome.REFUSED), ("fail", Outcome.FAILED), ("commit", Outcome.FAILED)],
)
def test_if_one_raises_all_run_one_by_one_and_only_that_one_is_undone(
    service: Service, odd: str, outcome: Outcome
) -> None:
    """Seen to fail with the raising command's transaction committed: its neighbours' first effects would stay."""
    sent = [command("work", odd if number == 5 else "fine") for number in range(BATCH)]

    replies = service.answered(sent)

    wanted = [outcome if number == 5 else Outcome.DONE for number in range(BATCH)]
    assert [replies[f"{one.saga} 1"].outcome for one in sent] == wanted
    assert [count(service.engine, "batched", one.saga) for one in sent] == [
        0 if number == 5 else 1 for number in range(BATCH)
    ]
    assert service.runs[sent[0].saga] == 2


def test_one_command_twice_in_a_batch_and_one_that_stands_are_done_once(service: Service) -> None:
    first = command("work", "first")
    service.answered([first])
    sent = [command("work", f"{number}") for number in range(3)]

    replies = service.answered([again(first, attempt=2), *sent, again(sent[0], attempt=2)])

    assert {reply.outcome for reply in replies.values()} == {Outcome.DONE}
    assert len(replies) == 5
    assert [count(service.engine, "batched", one.saga) for one in (first, *sent)] == [1] * 4


def test_what_was_done_in_a_batch_is_undone_with_its_args_and_result(service: Service) -> None:
    sent = [command("work", f"{number}") for number in range(BATCH)]
    service.answered(sent)

    with service.engine.connect() as connection:
        query = barrier.select().where(barrier.c.saga_id.in_([UUID(one.saga) for one in sent]))
        rows = connection.execute(query).all()

    assert {(row.outcome, row.args) for row in rows} == {("done", b'"%d"' % n) for n in range(BATCH)}
    assert all(row.args == row.result for row in rows)


def test_bad_messages_and_unknown_commands_in_a_batch_are_answered_for_themselves(service: Service) -> None:
    sent = [
        command("work", "fine"),
        command("typo", "x"),
        command("work", {"not": "text"}),
        command("work", "too"),
    ]

    replies = service.answered(sent)

    outcomes = [replies[f"{one.saga} 1"].outcome for one in sent]
    assert outcomes == [Outcome.DONE, Outcome.FAILED, Outcome.REFUSED, Outcome.DONE]


@pytest.fixture
def serving(database: Engine) -> Iterator[Callable[[Together], Service]]:
    """Makes a service whose command has a function for several at once."""
    made: list[Service] = []

    def make(together: Together) -> Service:
        made.append(Service(database, together))
        return made[-1]

    yield make
    for service in made:
        service.worker.stop()
        service.coordinator.close()


def all_at_once(service: Service, cmds: list[str], ctxs: list[Ctx]) -> list[str]:
    """What `Service._work` does, for several."""
    service.transactions.append(len(cmds))
    for ctx in ctxs:
        record(ctx.connection, "batched", ctx.saga)
    return [f"{cmd} together" for cmd in cmds]


def refusing_three(service: Service, cmds: list[str], ctxs: list[Ctx]) -> list[str]:
    """Refuses, after it did something."""
    all_at_once(service, cmds, ctxs)
    raise Refused("one of you is wrong")


def forgetting_one(service: Service, cmds: list[str], ctxs: list[Ctx]) -> list[str]:
    """Gives a result less."""
    return all_at_once(service, cmds, ctxs)[1:]


def committing(service: Service, cmds: list[str], ctxs: list[Ctx]) -> list[str]:
    """Ends the transaction, which is not its own."""
    done = all_at_once(service, cmds, ctxs)
    ctxs[-1].connection.commit()
    return done


def test_one_function_obeys_several_at_once_and_each_has_its_own_result(
    serving: Callable[[Together], Service],
) -> None:
    service = serving(all_at_once)
    sent = [command("work", f"{number}") for number in range(BATCH)]

    replies = service.answered(sent)

    results = [bytes(replies[f"{one.saga} 1"].result) for one in sent]
    assert results == [b'"%d together"' % number for number in range(BATCH)]
    assert [count(service.engine, "batched", one.saga) for one in sent] == [1] * BATCH
    assert service.transactions == [BATCH]
    assert not service.runs


@pytest.mark.parametrize("together", [refusing_three, forgetting_one, committing])
def test_if_it_fails_nothing_has_happened_and_each_is_obeyed_for_itself(
    serving: Callable[[Together], Service], together: Together
) -> None:
    """Seen to fail with the miscounted results stored: the last saga would have had another's."""
    service = serving(together)
    sent = [command("work", f"{number}") for number in range(BATCH)]

    replies = service.answered(sent)

    assert [bytes(replies[f"{one.saga} 1"].result) for one in sent] == [b'"%d"' % n for n in range(BATCH)]
    assert [count(service.engine, "batched", one.saga) for one in sent] == [1] * BATCH


def test_one_command_alone_is_obeyed_by_its_handler(serving: Callable[[Together], Service]) -> None:
    service = serving(all_at_once)
    sent = command("work", "alone")

    replies = service.answered([sent])

    assert bytes(replies[f"{sent.saga} 1"].result) == b'"alone"'
