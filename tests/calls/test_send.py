"""`client.send` and `@participant.answer`: the answer goes to another process, once, in its handler's transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import Engine, text

from amends.db.engines import transaction
from amends.outbox import wire
from amends.outbox.errors import MessageTooLarge
from amends.outbox.message import Message
from amends.outbox.ports import Broker, answers_queue, dead_letter_queue
from amends.participants import Answer, Client, Ctx, Failed, InvalidHandler, InvalidInput, Participant
from tests.calls.conftest import MakeClient, StartWorker
from tests.calls.servers import Add, Sum, calculator
from tests.calls.test_call import rows
from tests.outbox.driving import confirmed
from tests.waiting import eventually


def desk(engine: Engine, *, fail_first: int = 0) -> tuple[Participant, list[Answer[Any]]]:
    """A service that takes answers, and the answers that its handler was given; its first runs fail."""
    participant, given = Participant("desk"), []
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE taken (call text, outcome text)"))

    def take(answer: Answer[Any], ctx: Ctx) -> None:
        given.append(answer)
        ctx.connection.execute(
            text("INSERT INTO taken VALUES (:call, :outcome)"),
            {"call": answer.call, "outcome": answer.outcome},
        )
        if len(given) <= fail_first:
            raise Failed("not yet", retry_after_s=0.1)

    @participant.answer("add")
    def added(answer: Answer[Sum], ctx: Ctx) -> None:
        take(answer, ctx)

    @participant.answer("divide", of="calculator")
    def divided(answer: Answer[float], ctx: Ctx) -> None:
        take(answer, ctx)

    @participant.answer("doubt")
    def doubted(answer: Answer[float], ctx: Ctx) -> None:
        take(answer, ctx)

    return participant, given


def send(engine: Engine, client: Client, command: str, args: Any, **options: Any) -> str:
    """Send in a transaction of its own."""
    with transaction(engine) as connection:
        return client.send(connection, "calculator", command, args, **{"reply_to": "desk", **options})


def taken(engine: Engine, call: str) -> list[str]:
    """The outcomes that were recorded of a call."""
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT outcome FROM taken WHERE call = :call"), {"call": call}))


def reply(call: str, **fields: Any) -> bytes:
    """The body of an answer to `add`."""
    given: dict[str, Any] = {
        "saga": call,
        "path": "call/add",
        "op": wire.Op.DO,
        "round": 1,
        "attempt": 1,
        "outcome": wire.Outcome.DONE,
        "participant": "calculator",
        "result": msgspec.Raw(b'{"total": 5}'),
    }
    return wire.encode(wire.Reply(**{**given, **fields}))


def answers(prefix: str, body: bytes, type_: str = wire.REPLY) -> Message:
    """A message to the desk's queue of answers."""
    return Message(routing_key=answers_queue(prefix, "desk"), type=type_, body=body)


def test_the_answer_goes_to_the_service_that_is_named(
    start_worker: StartWorker, participant_database: Engine, make_client: MakeClient
) -> None:
    participant, given = desk(participant_database)
    start_worker(participant)
    start_worker(calculator)
    client = make_client("shop", broker=None)

    done = send(participant_database, client, "add", Add(2, 3))
    refused = send(participant_database, client, "divide", Add(1, 0))
    failed = send(participant_database, client, "doubt", Add(1, 0))

    for call, outcome in ((done, "done"), (refused, "refused"), (failed, "failed")):
        eventually(lambda call=call: taken(participant_database, call), what=f"the answer that is {outcome}")
        assert taken(participant_database, call) == [outcome]
    by_call = {one.call: one for one in given}
    assert (by_call[done].result, by_call[done].participant, by_call[done].command) == (
        Sum(5),
        "calculator",
        "add",
    )
    assert (by_call[refused].reason, by_call[refused].result) == ("division by zero", None)
    assert (by_call[failed].reason, by_call[failed].retry_after_s) == ("not today", 7)
    eventually(lambda: rows(participant_database, "SELECT count(*) FROM amends_outbox") == 0)


def test_what_is_rolled_back_was_never_asked(
    start_worker: StartWorker, participant_database: Engine, make_client: MakeClient
) -> None:
    participant, given = desk(participant_database)
    start_worker(participant)
    start_worker(calculator)
    client = make_client("shop", broker=None)

    with pytest.raises(ZeroDivisionError), transaction(participant_database) as connection:
        client.send(connection, "calculator", "add", Add(1, 1), reply_to="desk")
        raise ZeroDivisionError
    call = send(participant_database, client, "add", Add(2, 2))

    eventually(lambda: taken(participant_database, call), what="the answer to what was committed")
    assert [one.call for one in given] == [call]


def test_a_copy_of_an_answer_changes_nothing(
    start_worker: StartWorker, participant_database: Engine, broker: Broker, prefix: str
) -> None:
    """Guard: the barrier's row in `Taking`; the path of `_arrival` with the message's id took the second, too."""
    participant, given = desk(participant_database)
    start_worker(participant)
    call, other = str(uuid4()), str(uuid4())
    publisher = broker.publisher()
    first = answers(prefix, reply(call))

    confirmed(publisher, [first, replace(first, message_id=str(uuid4())), answers(prefix, reply(other))])
    eventually(lambda: taken(participant_database, other), what="the last answer")
    publisher.close()

    eventually(lambda: rows(participant_database, "SELECT count(*) FROM taken") == 2)
    assert sorted(one.call for one in given) == sorted([call, other])


def test_every_failure_is_told_and_its_copies_are_not(
    start_worker: StartWorker, participant_database: Engine, broker: Broker, prefix: str
) -> None:
    participant, _ = desk(participant_database)
    start_worker(participant)
    call = str(uuid4())
    failed = answers(prefix, reply(call, outcome=wire.Outcome.FAILED, reason="busy"))
    publisher = broker.publisher()

    confirmed(
        publisher, [failed, failed, replace(failed, message_id=str(uuid4())), answers(prefix, reply(call))]
    )
    publisher.close()

    eventually(lambda: "done" in taken(participant_database, call), what="the last answer")
    eventually(lambda: sorted(taken(participant_database, call)) == ["done", "failed", "failed"])


def test_a_handler_that_fails_hears_of_the_answer_again(
    start_worker: StartWorker, participant_database: Engine, make_client: MakeClient
) -> None:
    """At least once: nobody else would send it again. What failed left no trace."""
    participant, given = desk(participant_database, fail_first=1)
    start_worker(participant)
    start_worker(calculator)

    call = send(participant_database, make_client("shop", broker=None), "add", Add(1, 1))

    eventually(lambda: taken(participant_database, call), what="the second try")
    assert taken(participant_database, call) == ["done"]
    assert len(given) == 2


def test_what_nobody_can_take_is_kept_for_people(
    start_worker: StartWorker, participant_database: Engine, broker: Broker, prefix: str
) -> None:
    participant, given = desk(participant_database)
    start_worker(participant)
    publisher, dead = broker.publisher(), broker.consumer([dead_letter_queue(prefix)], prefetch=10)
    wrong = [
        answers(prefix, b"{"),
        answers(prefix, reply(str(uuid4())), type_=wire.COMMAND),
        answers(prefix, reply("no-uuid")),
        answers(prefix, reply(str(uuid4()), path="charge")),
        answers(prefix, reply(str(uuid4()), result=msgspec.Raw(b'{"product": 5}'))),
    ]
    confirmed(publisher, wrong)

    buried: list[str] = []

    def all_dead() -> bool:
        for delivery in dead.receive(0.1):
            dead.ack([delivery.tag])
            buried.append(str(delivery.headers["amends-reason"]))
        return len(buried) == len(wrong)

    eventually(all_dead, what=f"the dead letters; there are {buried}")
    dead.close()
    publisher.close()
    assert given == []


def test_a_failure_of_what_was_sent_survives_in_the_outbox(
    start_worker: StartWorker, participant_database: Engine, make_client: MakeClient, prefix: str
) -> None:
    """Nobody asks again. Guard: `asked_once`; without it the answer was only in memory, and no row stood."""
    start_worker(calculator)  # And nobody has the queue of answers yet: the row stays, as returned.
    send(participant_database, make_client("shop", broker=None), "doubt", Add(1, 0))

    row = f"SELECT count(*) FROM amends_outbox WHERE routing_key = '{answers_queue(prefix, 'desk')}'"
    eventually(lambda: rows(participant_database, row) == 1, what="the answer's row")
    participant, given = desk(participant_database)
    start_worker(participant)
    eventually(lambda: given, what="the answer")
    assert given[0].outcome == "failed"


def test_what_met_somebody_in_its_way_comes_again(
    start_worker: StartWorker, participant_database: Engine, make_client: MakeClient
) -> None:
    """Nobody asks again. Guard: `once_more`; without it the answer was that it failed."""
    participant, given = desk(participant_database)
    moody, tries = Participant("calculator"), []

    @moody.command
    def add(cmd: Add) -> Sum:
        tries.append(1)
        if len(tries) == 1:
            raise Failed("a lock is held", spent=False)
        return Sum(cmd.a + cmd.b)

    start_worker(participant)
    start_worker(moody)
    call = send(participant_database, make_client("shop", broker=None), "add", Add(1, 1))

    eventually(lambda: taken(participant_database, call), what="the answer")
    assert [(one.outcome, one.result) for one in given] == [("done", Sum(2))]


def test_bad_sends_and_handlers_are_told_at_once(
    participant_database: Engine, make_client: MakeClient
) -> None:
    client = make_client("shop", broker=None)
    with pytest.raises(InvalidInput, match="reply_to"):
        send(participant_database, client, "add", {}, reply_to="no.such")
    with pytest.raises(InvalidInput, match="expires_s"):
        send(participant_database, client, "add", {}, expires_s=-1)
    with pytest.raises(MessageTooLarge):
        send(participant_database, client, "add", "x" * 2_000_000)

    participant = Participant("desk")

    @participant.answer("add")
    def added(answer: Answer[Sum]) -> None: ...

    with pytest.raises(InvalidHandler, match="already takes"):

        @participant.answer("add")
        def added_too(answer: Answer[Sum]) -> None: ...

    with pytest.raises(InvalidHandler, match="is no Answer"):

        @participant.answer("divide")
        def divided(answer: Sum) -> None: ...

    with pytest.raises(InvalidHandler, match="threads"):

        @participant.answer("divide", threads=0)
        def never(answer: Answer[Sum]) -> None: ...
