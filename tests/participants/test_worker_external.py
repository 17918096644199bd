"""External handlers in the worker: what they are told, and what stands when something goes wrong (B5, M2)."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Engine, select

from amends.db.engines import transaction
from amends.db.tables.participant import barrier
from amends.outbox.wire import Op, Outcome
from amends.participants import Ctx, Participant, Refused
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.shop import count, record
from tests.waiting import DEADLINE_S


class Carrier:
    """Somebody else's service: remembers the keys it was called with, and does as it is told."""

    def __init__(self, *answers: BaseException | str) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []
        self.voided: list[str] = []

    def book(self, key: str) -> str:
        """One call."""
        self.calls.append(key)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def shipping(carrier: Carrier, *, large: bool = False) -> Participant:
    """Books parcels with a carrier, and keeps a record of its own."""
    participant = Participant("shipping")

    @participant.command(external=True)
    def book(cmd: dict[str, Any], ctx: Ctx) -> str:
        try:
            number = carrier.book(ctx.idempotency_key)
        except PermissionError as error:
            raise Refused("carrier says no") from error
        record(ctx.connection, "parcel", ctx.saga)
        if number == "unservable":
            raise Refused("nobody goes there")
        return number * 2_000_000 if large else number

    @book.undo
    def cancel(cmd: dict[str, Any], number: str | None, ctx: Ctx) -> None:
        carrier.voided.append(f"{number} {ctx.certain} {ctx.do_idempotency_key}")

    return participant


def stand(engine: Engine, saga: str, op: Op = Op.DO) -> str | None:
    """What the barrier says of a step."""
    query = select(barrier.c.outcome).where(barrier.c.saga_id == saga, barrier.c.op == op.value)
    with engine.connect() as connection:
        return connection.scalar(query)


def test_an_external_call_and_its_own_record_are_done_once(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator, carrier = coordinator_of("shipping"), Carrier("P1")
    start_worker(shipping(carrier))

    first = coordinator.ask(book := command("book", {}))
    second = coordinator.ask(again(book, attempt=2))
    undone = coordinator.ask(again(book, op=Op.UNDO, command="cancel", attempt=3))

    assert bytes(first.result) == bytes(second.result) == b'"P1"'
    assert carrier.calls == [f"{book.saga}/book/do"]
    assert count(module_postgresql, "parcel", book.saga) == 1
    assert undone.outcome is Outcome.DONE
    assert carrier.voided == [f"P1 True {book.saga}/book/do"]


def test_no_transaction_is_open_while_the_call_is_made(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """B5: the intent is committed first, and seen by others while the call is made."""
    coordinator = coordinator_of("one")
    participant = Participant("one")
    seen: list[str | None] = []

    @participant.command(external=True)
    def work(cmd: dict[str, Any], ctx: Ctx) -> None:
        seen.append(stand(module_postgresql, ctx.saga))

    start_worker(participant)

    assert coordinator.ask(command("work", {})).outcome is Outcome.DONE
    assert seen == ["calling"]


def test_a_failed_call_is_made_again_under_the_same_key_and_then_refused_in_doubt(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """Refusal after an unknown external call (M2, B5)."""
    coordinator = coordinator_of("shipping")
    carrier = Carrier(TimeoutError("no answer"), PermissionError())
    start_worker(shipping(carrier))

    failed = coordinator.ask(book := command("book", {}))
    in_doubt = stand(module_postgresql, book.saga)
    refused = coordinator.ask(again(book, attempt=2))
    undone = coordinator.ask(again(book, op=Op.UNDO, command="cancel", attempt=3))

    assert (failed.outcome, failed.spent, in_doubt) == (Outcome.FAILED, True, "calling")
    assert (refused.outcome, refused.certain) == (Outcome.REFUSED, False)
    assert len(set(carrier.calls)) == 1
    assert undone.outcome is Outcome.DONE
    assert carrier.voided == [f"None False {book.saga}/book/do"]


def test_a_refusal_of_the_first_call_is_certain_and_takes_the_own_record_back(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("shipping")
    start_worker(shipping(Carrier("unservable")))

    reply = coordinator.ask(book := command("book", {}))

    assert (reply.outcome, reply.certain) == (Outcome.REFUSED, True)
    assert count(module_postgresql, "parcel", book.saga) == 0
    assert stand(module_postgresql, book.saga) == "refused"


def test_a_call_whose_result_cannot_be_told_is_refused_in_doubt(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """O5: what was done outside cannot be taken back. Seen to fail without the ResultTooLarge branch in `_make`."""
    coordinator = coordinator_of("shipping")
    start_worker(shipping(Carrier("P1"), large=True))

    reply = coordinator.ask(command("book", {}))

    assert (reply.outcome, reply.certain) == (Outcome.REFUSED, False)


def test_args_of_the_wrong_type_never_reach_the_outside(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator, carrier = coordinator_of("shipping"), Carrier()
    start_worker(shipping(carrier))

    reply = coordinator.ask(command("book", ["no", "object"]))

    assert (reply.outcome, reply.certain) == (Outcome.REFUSED, True)
    assert carrier.calls == []


def test_an_undo_beside_a_call_under_way_waits_for_it(
    start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    coordinator = coordinator_of("one")
    participant = Participant("one")
    calling, release = threading.Event(), threading.Event()

    @participant.command(external=True)
    def work(cmd: dict[str, Any]) -> str:
        calling.set()
        assert release.wait(DEADLINE_S)
        return "done"

    undone: list[str] = []

    @work.undo
    def unwork(cmd: dict[str, Any], result: str) -> None:
        undone.append(result)

    start_worker(participant)
    sent = coordinator.send(command("work", {}))
    assert calling.wait(DEADLINE_S)

    early = coordinator.ask(again(sent, op=Op.UNDO, command="unwork", attempt=2))
    release.set()
    done = coordinator.await_reply(lambda reply: reply.op is Op.DO)
    late = coordinator.ask(again(sent, op=Op.UNDO, command="unwork", attempt=3))

    assert (early.outcome, early.spent) == (Outcome.FAILED, False)
    assert done.outcome is late.outcome is Outcome.DONE
    assert undone == ["done"]


def test_a_call_that_was_closed_meanwhile_tells_what_was_stored_instead(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    """B4, B5. Seen to fail with `hold` always true: the slow outcome would overwrite the fence's."""
    coordinator = coordinator_of("one")
    participant = Participant("one")
    calling, release = threading.Event(), threading.Event()

    @participant.command(external=True)
    def work(cmd: dict[str, Any], ctx: Ctx) -> str:
        calling.set()
        assert release.wait(DEADLINE_S)
        record(ctx.connection, "late record", ctx.saga)
        return "done"

    start_worker(participant)
    sent = coordinator.send(command("work", {}))
    assert calling.wait(DEADLINE_S)
    with transaction(module_postgresql) as connection:
        connection.exec_driver_sql(
            "UPDATE amends_barrier SET leased_until = now() - interval '1 s' WHERE saga_id = %(saga)s::uuid",
            {"saga": sent.saga},
        )

    closed = coordinator.ask(again(sent, op=Op.FENCE, closes=Op.DO, attempt=2))
    release.set()
    late = coordinator.await_reply(lambda reply: reply.op is Op.DO)

    assert (closed.outcome, closed.certain) == (Outcome.REFUSED, False)
    assert (late.outcome, late.certain) == (Outcome.REFUSED, False)
    assert count(module_postgresql, "late record", sent.saga) == 0
