"""Async handlers whose AsyncSession is the barrier's transaction: what commits, what does not, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from amends.db.engines import transaction
from amends.db.tables.participant import outbox
from amends.outbox import aput
from amends.outbox.message import Message
from amends.outbox.wire import Op, Outcome
from amends.participants import Client, Ctx, Refused
from tests.participants.conftest import CoordinatorOf, StartWorker
from tests.participants.coordinator import again, command
from tests.participants.shop import Effect, count, effects
from tests.participants.test_worker import one_handler

Handler = Callable[[Any, Ctx], Awaitable[Any]]


def test_what_an_async_session_writes_commits_with_the_reply_and_once(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(cmd: int, ctx: Ctx) -> int:
        ctx.asession.add(Effect(kind="async", saga=ctx.saga, amount=cmd))
        await asyncio.sleep(0)
        await ctx.asession.flush()
        found = (await ctx.asession.scalars(select(Effect).where(Effect.saga == ctx.saga))).all()
        assert await ctx.asession.get(Effect, found[0].id) is found[0]
        await ctx.asession.refresh(found[0])
        assert await ctx.asession.scalar(select(effects.c.amount), {}) is not None
        assert (await ctx.asession.execute(select(effects.c.kind).limit(1))).one()
        assert ctx.asession is ctx.asession
        assert found[0] in ctx.session
        return len(found)

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))
    sent = command("work", 7)

    first = coordinator.ask(sent)
    second = coordinator.ask(again(sent, attempt=2))

    assert (first.outcome, bytes(first.result)) == (Outcome.DONE, b"1")
    assert (second.outcome, bytes(second.result)) == (Outcome.DONE, b"1")
    assert count(module_postgresql, "async", sent.saga) == 1


def test_what_was_only_added_to_it_is_flushed_after_the_handler(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(_cmd: int, ctx: Ctx) -> None:
        ctx.asession.add(Effect(kind="late", saga=ctx.saga, amount=1))

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))

    reply = coordinator.ask(sent := command("work", 1))

    assert reply.outcome is Outcome.DONE
    assert count(module_postgresql, "late", sent.saga) == 1


def test_messages_and_sagas_put_in_it_share_its_fate(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    client = Client("one", prefix="nobody")

    async def work(cmd: str, ctx: Ctx) -> None:
        await client.astart(ctx.asession, "follow-up", {"of": ctx.saga}, key=ctx.saga)
        note = Message(
            routing_key="nobody.asks", type="note", body=b"{}", correlation_id=ctx.saga, delay_s=900
        )
        await aput(ctx.asession, note)
        if cmd == "refuse":
            raise Refused("no")

    coordinator = coordinator_of("one")
    start_worker(one_handler(work), relay=False)

    kept, gone = command("work", "do"), command("work", "refuse")
    assert coordinator.ask(kept).outcome is Outcome.DONE
    assert coordinator.ask(gone).outcome is Outcome.REFUSED

    with transaction(module_postgresql) as connection:
        stored = connection.execute(
            select(outbox.c.type, outbox.c.correlation_id).where(outbox.c.routing_key.like("nobody.%"))
        ).all()
    assert sorted(row.type for row in stored) == ["amends.start", "note"]
    assert {row.correlation_id for row in stored if row.type == "note"} == {kept.saga}


async def commits(_cmd: Any, ctx: Ctx) -> None:
    ctx.asession.add(Effect(kind="ended", saga=ctx.saga, amount=1))
    await ctx.asession.commit()


async def rolls_back(_cmd: Any, ctx: Ctx) -> None:
    ctx.asession.add(Effect(kind="ended", saga=ctx.saga, amount=1))
    await ctx.asession.flush()
    await ctx.asession.rollback()


async def commits_and_swallows(cmd: Any, ctx: Ctx) -> None:
    try:
        await commits(cmd, ctx)
    except Exception:  # noqa: BLE001 - As careless code does.
        return


@pytest.mark.parametrize("handler", [commits, rolls_back, commits_and_swallows])
def test_a_handler_that_ends_the_transaction_through_it_is_never_done(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf, handler: Handler
) -> None:
    """B4. Seen to fail with a plain Session below: the effect stayed, or the command counted as done without it."""
    coordinator = coordinator_of("one")
    start_worker(one_handler(handler))

    reply = coordinator.ask(sent := command("work", 1))

    assert reply.outcome is Outcome.FAILED
    assert "ended the worker's transaction" in reply.reason
    assert count(module_postgresql, "ended", sent.saga) == 0


def test_a_savepoint_of_its_own_may_fail_and_the_rest_commits(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(_cmd: int, ctx: Ctx) -> str:
        ctx.asession.add(Effect(kind="kept", saga=ctx.saga, amount=1))
        try:
            async with ctx.asession.begin_nested():
                await ctx.asession.execute(effects.insert().values(id=-1, kind=None, saga=ctx.saga))
        except IntegrityError:
            return "went on"
        return "no error"

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))

    reply = coordinator.ask(sent := command("work", 1))

    assert (reply.outcome, bytes(reply.result)) == (Outcome.DONE, b'"went on"')
    assert count(module_postgresql, "kept", sent.saga) == 1


def test_a_handler_cancelled_at_its_time_limit_leaves_nothing_and_its_thread_goes_on(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(cmd: str, ctx: Ctx) -> str:
        ctx.asession.add(Effect(kind="cancelled", saga=ctx.saga, amount=1))
        await ctx.asession.flush()
        if cmd == "hang":
            await asyncio.Event().wait()
        return cmd

    coordinator = coordinator_of("one")
    start_worker(one_handler(work), time_limit_s=0.3, threads=1)

    hung, next_one = command("work", "hang"), command("work", "go on")
    assert coordinator.ask(hung).outcome is Outcome.FAILED
    assert coordinator.ask(next_one).outcome is Outcome.DONE

    assert count(module_postgresql, "cancelled", hung.saga) == 0
    assert count(module_postgresql, "cancelled", next_one.saga) == 1


def test_tasks_of_one_handler_share_its_session_one_statement_at_a_time(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(cmd: int, ctx: Ctx) -> None:
        async def one(amount: int) -> None:
            await ctx.asession.execute(effects.insert().values(kind="task", saga=ctx.saga, amount=amount))
            await asyncio.sleep(0)
            await ctx.asession.scalars(select(effects.c.id).limit(1))

        await asyncio.gather(*(one(amount) for amount in range(cmd)))

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))

    reply = coordinator.ask(sent := command("work", 20))

    assert reply.outcome is Outcome.DONE
    assert count(module_postgresql, "task", sent.saga) == 20


def test_an_external_handler_calls_outside_first_and_then_records_through_it(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    async def work(_cmd: int, ctx: Ctx) -> str:
        await asyncio.sleep(0)  # Here it would call, outside of any transaction (B5).
        ctx.asession.add(Effect(kind="external", saga=ctx.saga, amount=1))
        await ctx.asession.flush()
        return ctx.idempotency_key

    coordinator = coordinator_of("one")
    start_worker(one_handler(work, external=True))

    reply = coordinator.ask(sent := command("work", 1))

    assert reply.outcome is Outcome.DONE
    assert count(module_postgresql, "external", sent.saga) == 1


def test_an_undo_may_be_async_too(
    module_postgresql: Engine, start_worker: StartWorker, coordinator_of: CoordinatorOf
) -> None:
    from amends.participants import Participant

    participant = Participant("one")

    @participant.command
    async def book(cmd: int, ctx: Ctx) -> int:
        ctx.asession.add(Effect(kind="booked", saga=ctx.saga, amount=cmd))
        return cmd

    @book.undo
    async def unbook(cmd: int, booked: int, ctx: Ctx) -> None:
        await ctx.asession.execute(effects.delete().where(effects.c.saga == ctx.saga))

    coordinator = coordinator_of("one")
    start_worker(participant)
    sent = command("book", 3)
    assert coordinator.ask(sent).outcome is Outcome.DONE

    undone = coordinator.ask(again(sent, op=Op.UNDO, command="unbook", attempt=2))

    assert undone.outcome is Outcome.DONE
    assert count(module_postgresql, "booked", sent.saga) == 0


@pytest.mark.parametrize("name", ["connection", "stream", "stream_scalars"])
def test_what_only_an_async_connection_has_is_told(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, name: str
) -> None:
    async def work(_cmd: int, ctx: Ctx) -> None:
        await getattr(ctx.asession, name)()

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))

    reply = coordinator.ask(command("work", 1))

    assert reply.outcome is Outcome.FAILED
    assert "use execute()" in reply.reason


def test_without_greenlet_it_says_what_to_install(
    start_worker: StartWorker, coordinator_of: CoordinatorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amends.participants.asyncio import sessions

    monkeypatch.setattr(sessions, "find_spec", lambda _name: None)

    async def work(_cmd: int, ctx: Ctx) -> None:
        ctx.asession.add(Effect(kind="never", saga=ctx.saga, amount=1))

    coordinator = coordinator_of("one")
    start_worker(one_handler(work))

    reply = coordinator.ask(command("work", 1))

    assert reply.outcome is Outcome.FAILED
    assert "pip install 'amends[asyncio]'" in reply.reason
